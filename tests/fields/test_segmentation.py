"""Scores of label maps: by hand, and against counting pixel by pixel."""

import numpy as np
import pytest
import torch
from semaflow.fields.metrics import average_accuracy, confusion
from semaflow.fields.segmentation import SegmentationScore, labels_of, mean_over_scenes
from semaflow.scenes import BadInput


def score(*pairs, classes=3):
    result = SegmentationScore(classes)
    for predicted, truth in pairs:
        result.add(torch.tensor(predicted), torch.tensor(truth))
    return result.scores()


def test_three_measures_by_hand():
    result = score(([[0, 1, 1, 2]], [[0, 0, 1, 1]]))
    assert result["total_accuracy"] == pytest.approx(2 / 4)
    assert result["average_accuracy"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    # Class 2 is only predicted: it is not averaged, but costs class 1 a pixel.
    assert result["miou"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert result["class_iou"] == [pytest.approx(1 / 2), pytest.approx(1 / 3), None]


def test_images_count_alike_and_pooled_pixels_count_alike():
    one, other = ([[0, 0, 0, 0]], [[0, 0, 0, 0]]), ([[1, 1]], [[0, 1]])
    result = score(one, other)
    assert result["miou"] == pytest.approx((1 + (0 + 1 / 2) / 2) / 2)
    assert result["pooled"]["miou"] == pytest.approx((4 / 5 + 1 / 2) / 2)
    assert result["total_accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    assert result["pooled"]["total_accuracy"] == pytest.approx(5 / 6)
    assert result["pooled"]["average_accuracy"] == pytest.approx((4 / 5 + 1) / 2)


def test_pixels_without_a_true_label_neither_help_nor_hurt():
    plain = score(([[0, 1, 1]], [[0, 0, 1]]))
    for guess in (0, 1, 2, -1):
        assert score(([[0, 1, 1, guess]], [[0, 0, 1, -1]])) == plain
    unlabelled = ([[0, 1]], [[-1, -1]])
    assert score(([[0, 1, 1]], [[0, 0, 1]]), unlabelled) == plain


def test_no_answer_is_a_wrong_answer():
    silent, wrong = score(([[0, -1]], [[0, 0]])), score(([[0, 2]], [[0, 0]]))
    assert silent == wrong
    assert silent["total_accuracy"] == 0.5


def test_the_ignore_channel_is_no_way_out():
    logits = torch.tensor([[[0.1, 0.3, 5.0], [2.0, 0.0, 1.0]]])
    assert labels_of(logits).tolist() == [[2, 0]]
    assert labels_of(logits, ignore=2).tolist() == [[1, 0]]
    assert logits[0, 0, 2] == 5.0
    middle = torch.tensor([[[0.1, 9.0, 0.2]]])
    assert labels_of(middle, ignore=1).tolist() == [[2]]


def counted(predicted, truth, classes):
    """The three measures by loops over classes, from sets of pixels."""
    valid = truth != -1
    accuracies, ious = [], []
    for c in range(classes):
        true, found = (truth == c) & valid, (predicted == c) & valid
        if true.any():
            accuracies.append((true & found).sum() / true.sum())
            ious.append((true & found).sum() / (true | found).sum())
    return (predicted == truth)[valid].mean(), np.mean(accuracies), np.mean(ious)


def test_random_maps_agree_with_counting():
    generator = np.random.default_rng(4)
    result, rows, all_predicted, all_true = SegmentationScore(6), [], [], []
    for _ in range(7):
        truth = generator.integers(-1, 5, (9, 11))
        predicted = np.where(generator.random((9, 11)) < 0.6, truth, generator.integers(0, 6, (9, 11)))
        result.add(torch.from_numpy(predicted), torch.from_numpy(truth))
        rows.append(counted(predicted, truth, 6))
        all_predicted.append(predicted)
        all_true.append(truth)
    scores = result.scores()
    names = ("total_accuracy", "average_accuracy", "miou")
    assert [scores[name] for name in names] == pytest.approx(np.mean(rows, 0).tolist())
    pooled = counted(np.concatenate(all_predicted), np.concatenate(all_true), 6)
    assert [scores["pooled"][name] for name in names] == pytest.approx(list(pooled))


def test_scenes_count_alike():
    one, other = score(([[0, 0]], [[0, 0]])), score(([[1, 1]], [[0, 1]]), ([[1, 1]], [[0, 1]]))
    whole = mean_over_scenes([one, other])
    assert whole["total_accuracy"] == pytest.approx(0.75)
    assert whole["miou"] == pytest.approx((1 + 0.25) / 2)
    assert whole["pooled"]["total_accuracy"] == pytest.approx(0.75)


def test_average_accuracy_of_nothing_is_perfect():
    assert average_accuracy(confusion(torch.tensor([-1]), torch.tensor([0]), 2)) == 1.0


@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        ([[0, 0]], [[0, 3]], "true classes in -1..2"),
        ([[0, 4]], [[0, 1]], "predicted classes in -1..2"),
        ([[0]], [[0, 1]], "expected"),
        ([[0, 0]], [[-1, -1]], "no image"),
    ],
)
def test_bad_maps_get_one_line(predicted, truth, message):
    with pytest.raises(BadInput, match=message) as caught:
        score((predicted, truth))
    assert "\n" not in str(caught.value)
