"""How good label maps are: accuracies and mean IoU per image, over images and pooled.

The definitions are those of GP-NeRF, Semantic-Ray and Semantic-NeRF: a class counts in an image where it has true
pixels; a class that is only predicted is not averaged, but its pixels are errors of others. Pixels labelled -1 are no
part of anything.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..scenes.files import BadInput
from .metrics import accuracy, average_accuracy, class_iou, confusion, mean_iou

MEASURES = {"total_accuracy": accuracy, "average_accuracy": average_accuracy, "miou": mean_iou}


def labels_of(logits: Tensor, ignore: int | None = None) -> Tensor:
    """Classes [...] int64 of largest logit in ``logits`` [..., O].

    The channel ``ignore`` stands for no class: it is masked before the maximum is taken, so that a pixel cannot escape
    the count by it.
    """
    if ignore is not None:
        logits = logits.clone()
        logits[..., ignore] = -torch.inf
    return logits.argmax(-1)


class SegmentationScore:
    """Label maps of one scene against the truth, gathered image by image."""

    def __init__(self, classes: int):
        self.classes = classes
        self._matrices: list[Tensor] = []

    def add(self, predicted: Tensor, truth: Tensor) -> None:
        """Count an image: classes [H, W] int64, true ones -1 where unknown; a prediction of -1 is an error.

        Raises BadInput: maps of different sizes, or labels outside 0..classes-1.
        """
        if predicted.shape != truth.shape:
            raise BadInput(f"labels: expected {list(truth.shape)} predictions, got {list(predicted.shape)}")
        for name, labels in (("true", truth), ("predicted", predicted)):
            if labels.numel() and not -1 <= labels.min() <= labels.max() < self.classes:
                raise BadInput(
                    f"labels: expected {name} classes in -1..{self.classes - 1}, got {labels.min()}..{labels.max()}"
                )
        nothing = torch.where(predicted < 0, self.classes, predicted)  # a class that no true pixel has
        self._matrices.append(confusion(truth, nothing, self.classes + 1).cpu())

    def __add__(self, other: SegmentationScore) -> SegmentationScore:
        """The images of both."""
        joined = SegmentationScore(self.classes)
        joined._matrices = self._matrices + other._matrices
        return joined

    @property
    def images(self) -> int:
        """How many images with any true label were added."""
        return len(self._counted())

    def _counted(self) -> list[Tensor]:
        return [matrix for matrix in self._matrices if matrix.sum() > 0]

    def scores(self) -> dict:
        """``total_accuracy``, ``average_accuracy`` and ``miou``: means over the images that have any true label.

        ``pooled`` holds the same three of the pixels of all images together, and ``class_iou`` the pooled IoU by
        class, None where a class has no true pixel. The headline is the mean over images.

        Raises BadInput: no image with a true label.
        """
        counted = self._counted()
        if not counted:
            raise BadInput("labels: no image has any true label")
        pooled = torch.stack(counted).sum(0)
        result = {
            name: sum(measure(matrix) for matrix in counted) / len(counted) for name, measure in MEASURES.items()
        }
        ious = class_iou(pooled)[: self.classes].tolist()
        return result | {
            "images": len(counted),
            "pooled": {name: measure(pooled) for name, measure in MEASURES.items()},
            "class_iou": [None if iou != iou else iou for iou in ious],
        }


def mean_over_scenes(scores: list[dict]) -> dict:
    """Means of the headline scores, and of the pooled ones, of several scenes; each scene counts alike."""
    if not scores:
        raise BadInput("scores: expected those of one scene at least")

    def mean(rows: list[dict]) -> dict:
        return {name: sum(row[name] for row in rows) / len(rows) for name in MEASURES}

    return mean(scores) | {"pooled": mean([row["pooled"] for row in scores])}
