"""Average precision of instances: by hand, and against plain implementations of both rules."""

import itertools

import numpy as np
import pytest
import torch
from semaflow.fields.instances import THRESHOLDS, InstanceScore, coco_precision, matched_precision, overlaps
from semaflow.scenes import BadInput


def image(labels, channels, sure=0.9):
    """Probabilities [H, W, K] whose largest channel is that of ``labels``, with value ``sure`` (one per channel)."""
    labels = torch.as_tensor(labels)
    top = torch.as_tensor(sure).expand(channels)[labels][..., None]
    rest = (1 - top) / (channels - 1)
    return torch.where(torch.nn.functional.one_hot(labels, channels).bool(), top, rest)


def scores(*pairs):
    result = InstanceScore()
    for probabilities, truth in pairs:
        result.add(probabilities, torch.as_tensor(truth))
    return result.scores()


ROW = [[0] * 10 + [1] * 10]


def test_perfect_instances_under_any_numbers_have_ap_one():
    result = scores((image([[2] * 10 + [0] * 10], 3), [[7] * 10 + [4] * 10]))
    assert list(result["ap"].values()) == [1.0] * 6
    assert list(result["coco_ap"].values()) == [1.0] * 6
    assert result["coco_mean"] == 1.0


def test_one_of_two_found_by_hand():
    # True: pixels 0-9 and 10-19. Predicted: 0-13 and 14-19, IoU 10/14 and 6/10.
    result = scores((image([[0] * 14 + [1] * 6], 2), ROW))
    assert result["ap"] == {"0.5": 1.0} | dict.fromkeys(("0.75", "0.8", "0.85", "0.9", "0.95"), 0.0)
    labels = [[0] * 10 + [1] * 6 + [2] * 4]  # IoU 1 and 6/10, and a third prediction
    for sure, expected in (((0.9, 0.8, 0.7), 0.5), ((0.7, 0.8, 0.9), 0.25)):
        found = overlaps(image(labels, 3, sure), torch.tensor(ROW))
        # A hit in the first place of two: precision 1 up to recall 1/2; in the second place: precision 1/2 up to it.
        assert matched_precision(found, (0.75,)) == [pytest.approx(expected)]


def test_only_coco_counts_predictions_that_nothing_true_got():
    labels = [[0] * 10 + [1] * 9 + [2]]
    found = overlaps(image(labels, 3, (0.6, 0.7, 0.99)), torch.tensor(ROW))
    assert matched_precision(found, (0.75,)) == [1.0]
    # Surest first: wrong, right, right: precision 1/2, then 2/3; the envelope is 2/3 at every recall.
    assert coco_precision([found], 0.75) == pytest.approx(2 / 3)


def test_a_true_instance_that_nothing_finds_costs_recall():
    found = overlaps(image([[0] * 20], 2), torch.tensor([[0] * 18 + [1] * 2]))
    assert matched_precision(found, (0.85,)) == [pytest.approx(0.5)]
    assert coco_precision([found], 0.85) == pytest.approx(51 / 101)


def test_pixels_of_no_instance_neither_help_nor_hurt():
    plain = scores((image([[0] * 9 + [1] * 11], 2), ROW))
    for guess in (0, 1):
        assert scores((image([[0] * 9 + [1] * 11 + [guess] * 5], 2), [ROW[0] + [-1] * 5])) == plain


def test_the_median_says_how_sure_a_prediction_is():
    probabilities = image([[0, 0, 0, 1]], 2, (0.9, 0.6))
    probabilities[0, 0] = torch.tensor([0.51, 0.49])
    found = overlaps(probabilities, torch.tensor([[0, 0, 0, 1]]))
    assert found.confidence.tolist() == pytest.approx([0.9, 0.6])


# --- plain implementations -----------------------------------------------------------------------


def area(pairs, count):
    """Area under the envelope from (confidence, hit) pairs: recall steps and best later precision."""
    ordered = sorted(pairs, key=lambda pair: -pair[0])
    points = []
    for n in range(1, len(ordered) + 1):
        positive = sum(hit for _, hit in ordered[:n])
        points.append((positive / count, positive / n))
    total, before = 0.0, 0.0
    for index, (recall, _) in enumerate(points):
        total += (recall - before) * max(p for _, p in points[index:])
        before = recall
    return total, points


def plain(probabilities, truth, threshold):
    """Matching by trying every assignment; masks as sets of pixels."""
    valid = truth.ravel() >= 0
    p, t = probabilities.reshape(-1, probabilities.shape[-1])[valid], truth.ravel()[valid]
    ids, channels = sorted(set(t.tolist())), p.shape[1]
    label = p.argmax(1)

    def cost(g, k):
        mask = t == g
        entropy = -np.where(mask, np.log(p[:, k]), np.log(1 - p[:, k])).mean()
        both = p[mask, k].sum()
        return entropy + 1 - both / (mask.sum() + p[:, k].sum() - both)

    def iou(g, k):
        return ((t == g) & (label == k)).sum() / ((t == g) | (label == k)).sum()

    def sure(k):
        return np.median(p[label == k, k]) if (label == k).any() else -1.0

    best = min(
        itertools.permutations(range(channels), len(ids)),
        key=lambda ks: sum(cost(g, k) for g, k in zip(ids, ks, strict=True)),
    )
    pairs = [(sure(k), iou(g, k) > threshold) for g, k in zip(ids, best, strict=True)]
    predictions = [(sure(k), {g: iou(g, k) for g in ids}) for k in range(channels) if (label == k).any()]
    return area(pairs, len(ids))[0], predictions, len(ids)


def plain_coco(images, threshold):
    pairs, count = [], 0
    for predictions, instances in images:
        free = set(predictions[0][1])
        count += instances
        for confidence, ious in sorted(predictions, key=lambda one: -one[0]):
            best = max(free, key=ious.get, default=None)
            hit = best is not None and ious[best] >= threshold
            free -= {best} if hit else set()
            pairs.append((confidence, hit))
    _, points = area(pairs, count)
    return np.mean([max((p for r, p in points if r >= level / 100), default=0.0) for level in range(101)])


def test_random_maps_agree_with_plain_implementations():
    generator = np.random.default_rng(2)
    result, rows, images = InstanceScore(), [], []
    for index in range(6):
        truth = np.repeat(np.arange(20) // (4 + index % 3), 3).reshape(4, -1)
        truth[generator.random(truth.shape) < 0.05] = -1
        shuffle = generator.permutation(6)
        logits = generator.normal(0, 1.0, (*truth.shape, 6))
        logits[np.arange(4)[:, None], np.arange(15), shuffle[truth.clip(0)]] += generator.uniform(1, 5)
        probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        result.add(torch.from_numpy(probabilities), torch.from_numpy(truth))
        found = [plain(probabilities, truth, threshold) for threshold in THRESHOLDS]
        rows.append([one[0] for one in found])
        images.append(found[0][1:])
    measured = result.scores()
    assert list(measured["ap"].values()) == pytest.approx(np.mean(rows, 0).tolist())
    assert 0.1 < measured["ap"]["0.75"] < 0.95
    expected = [plain_coco(images, threshold) for threshold in THRESHOLDS]
    assert list(measured["coco_ap"].values()) == pytest.approx(expected)
    assert measured["coco_mean"] == pytest.approx(np.mean([plain_coco(images, t / 100) for t in range(50, 100, 5)]))


@pytest.mark.parametrize(
    ("probabilities", "truth", "message"),
    [
        (torch.zeros(2, 3, 4), torch.zeros(2, 2, dtype=torch.int64), "expected probabilities"),
        (torch.full((1, 1, 2), 3.0), torch.zeros(1, 1, dtype=torch.int64), "0..1"),
        (torch.zeros(1, 1, 2), torch.full((1, 1), -1), "no image"),
    ],
)
def test_bad_maps_get_one_line(probabilities, truth, message):
    with pytest.raises(BadInput, match=message) as caught:
        scores((probabilities, truth))
    assert "\n" not in str(caught.value)
