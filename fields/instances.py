"""Average precision of instance maps: by the rule of DM-NeRF and GP-NeRF, and by COCO's.

The papers' rule gives each true instance one predicted instance and asks how many of the pairs overlap. Predictions
that no true instance got never count against it, so it flatters; COCO's rule counts them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..scenes.files import BadInput

THRESHOLDS = (0.5, 0.75, 0.8, 0.85, 0.9, 0.95)
COCO_THRESHOLDS = tuple(0.5 + 0.05 * step for step in range(10))
MOST = 100  # predictions of an image that COCO's rule takes, the surest
SMALLEST = {torch.float64: 1e-8, torch.float32: 1e-6}  # probability that a logarithm is taken of


@dataclass(frozen=True)
class Overlaps:
    """One image: G true instances against K channels.

    Attributes:
        iou: of the pixels where a channel is the largest with those of a true instance, float64 [G, K].
        cost: of giving a true instance a channel, float64 [G, K].
        confidence: median over a channel's pixels of its value, float64 [K], NaN for a channel without pixels.
    """

    iou: Tensor
    cost: Tensor
    confidence: Tensor


def overlaps(probabilities: Tensor, truth: Tensor) -> Overlaps:
    """Compare instance probabilities [H, W, K] with true ids [H, W], of which -1 is no part of anything.

    Raises BadInput: maps of different sizes, or values outside 0..1.
    """
    if probabilities.shape[:-1] != truth.shape:
        raise BadInput(
            f"instances: expected probabilities {[*truth.shape, 'K']}, got {list(probabilities.shape)}"
        )
    valid = truth >= 0
    values = probabilities[valid].double()
    if values.numel() and not 0 <= values.min() <= values.max() <= 1:
        raise BadInput(
            f"instances: expected probabilities in 0..1, got {values.min():.3g}..{values.max():.3g}"
        )
    ids, owner = truth[valid].unique(return_inverse=True)
    channels = probabilities.shape[-1]
    masks = (owner[:, None] == torch.arange(len(ids), device=owner.device)).double()  # [N, G]
    best, label = values.max(-1)
    chosen = torch.nn.functional.one_hot(label, channels).double()  # [N, K]

    of_channel = [best[label == k] for k in range(channels)]
    confidence = torch.stack([part.quantile(0.5) if len(part) else part.new_tensor(torch.nan) for part in of_channel])
    return Overlaps(_iou(masks, chosen), matching_costs(masks, values), confidence)


def matching_costs(masks: Tensor, shares: Tensor) -> Tensor:
    """What it costs to give each of G things each of K channels, [G, K], differentiable in ``shares``.

    The mean binary cross-entropy of the channel's share of each pixel against the thing's mask, and one minus their
    soft intersection over union (DM-NeRF, Wang et al. 2023, section 3.2).

    Args:
        masks: of things, 0 or 1, [N, G]. shares: of channels, 0..1, [N, K].
    """
    least = SMALLEST[shares.dtype]
    surely = shares.clamp(least, 1 - least)
    entropy = masks.T @ surely.log() + (1 - masks).T @ (1 - surely).log()
    return 1 - _iou(masks, shares) - entropy / max(1, len(shares))


def _iou(masks: Tensor, others: Tensor) -> Tensor:
    """(Soft) intersection over union of the columns of [N, G] and [N, K], [G, K]."""
    both = masks.T @ others
    return both / (masks.sum(0)[:, None] + others.sum(0) - both).clamp(min=SMALLEST[others.dtype])


def matched_precision(found: Overlaps, thresholds: tuple[float, ...] = THRESHOLDS) -> list[float]:
    """AP of one image at each IoU threshold by the rule of DM-NeRF and GP-NeRF; NaN without true instances.

    Hungarian matching by cost gives every true instance a channel. Pairs in order of the channel's confidence are
    true positives where their IoU is above the threshold; AP is the area under the envelope of precision over recall.
    """
    from scipy.optimize import linear_sum_assignment

    count = len(found.iou)
    if not count:
        return [float("nan")] * len(thresholds)
    rows, columns = linear_sum_assignment(found.cost.cpu().numpy())
    order = found.confidence[columns].nan_to_num(-1).argsort(descending=True, stable=True)
    iou = found.iou[rows, columns][order]
    return [_area(iou > threshold, count) for threshold in thresholds]


def _area(hits: Tensor, count: int) -> float:
    """Area under the monotone envelope of precision over recall of ``hits`` [P] bool, surest first."""
    positive = hits.double().cumsum(0)
    precision = positive / torch.arange(1, len(hits) + 1, device=hits.device)
    envelope = precision.flip(0).cummax(0).values.flip(0)
    return (envelope[hits].sum() / count).item()


def coco_precision(images: list[Overlaps], threshold: float) -> float:
    """AP over images at an IoU threshold by COCO's rule, all instances of one category; NaN without true ones.

    In each image, the surest prediction first, each takes the free true instance that it overlaps most if by the
    threshold at least, or else is a false positive. Precision over all images' predictions is read at 101 recalls.
    """
    confidences, hits = [], []
    for found in images:
        sure = found.confidence.nan_to_num(-1).argsort(descending=True, stable=True)
        free = torch.ones(len(found.iou), dtype=torch.bool)
        for channel in sure[: min(MOST, int((~found.confidence.isnan()).sum()))].tolist():
            iou = torch.where(free, found.iou[:, channel].cpu(), -1.0)
            hit = bool(len(iou)) and iou.max().item() >= threshold
            if hit:
                free[iou.argmax()] = False
            confidences.append(found.confidence[channel].item())
            hits.append(hit)
    count = sum(len(found.iou) for found in images)
    if not count:
        return float("nan")
    if not hits:
        return 0.0
    order = torch.tensor(confidences).argsort(descending=True, stable=True)
    positive = torch.tensor(hits)[order].double().cumsum(0)
    precision = positive / torch.arange(1, len(hits) + 1)
    envelope = precision.flip(0).cummax(0).values.flip(0)
    recall = torch.linspace(0, 1, 101, dtype=torch.float64)
    place = torch.searchsorted(positive / count, recall)
    reached = place < len(envelope)
    return (envelope[place.clamp(max=len(envelope) - 1)] * reached).mean().item()


class InstanceScore:
    """Instance maps of one scene against the truth, gathered image by image."""

    def __init__(self):
        self._images: list[Overlaps] = []

    def add(self, probabilities: Tensor, truth: Tensor) -> None:
        """Count an image: probabilities [H, W, K] over instances, and true ids [H, W], -1 where unknown."""
        self._images.append(overlaps(probabilities, truth))

    @property
    def images(self) -> int:
        """How many images with any true instance were added."""
        return len(self._counted())

    def _counted(self) -> list[Overlaps]:
        return [found for found in self._images if len(found.iou)]

    def scores(self) -> dict:
        """``ap`` by threshold, mean over images (papers' rule); ``coco_ap`` by threshold, and ``coco_mean``, the mean
        over 0.5, 0.55 ... 0.95.

        Raises BadInput: no image with a true instance.
        """
        images = self._counted()
        if not images:
            raise BadInput("instances: no image has any true instance")
        rows = torch.tensor([matched_precision(found) for found in images], dtype=torch.float64)
        coco = {threshold: coco_precision(images, threshold) for threshold in THRESHOLDS}
        return {
            "ap": dict(zip(map(str, THRESHOLDS), rows.mean(0).tolist(), strict=True)),
            "coco_ap": {str(threshold): value for threshold, value in coco.items()},
            "coco_mean": sum(coco_precision(images, t) for t in COCO_THRESHOLDS) / len(COCO_THRESHOLDS),
            "images": len(images),
        }
