"""Masks at the resolution of the picture: the field says which thing is meant, the teacher where it ends."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fields import metrics
from ..scenes import BadInput, Frame
from .masks import inside_point

STRAY = 0.1  # share of a mask below which a part apart from the rest does not stretch the box
AGREED = 0.5  # intersection over union with the rough mask from which the teacher's is believed
ALIKE = 0.45  # centred cosine with what was selected from which a pixel looks like it


class Refiner:
    """Sharpens a field's masks of an object with the teacher of its run.

    A field may have lost a thing that the pictures still show. So a rough mask is first compared with what the
    teacher's own map of the frame says: where the mask does not look like what was selected, not even half as much as
    ``ALIKE``, the pixels that do take its place.

    Args:
        run: an open ``Run``.
        query: the feature [D] that was selected by, or None to believe the field throughout.

    BadInput when the teacher makes no masks.
    """

    def __init__(self, run, query: Tensor | None):
        from ..scenes.teachers.cache import feature_maps

        self.teacher, self.query = run.teacher(), query
        if not self.teacher.can_mask:
            raise BadInput(f"refine: teacher {self.teacher.name} makes no masks; fit with sam or mobilesam")
        self.maps = feature_maps(run.scene.split("train"), self.teacher, run.folder / "features")
        if query is not None:
            self.mean = torch.stack([features.flatten(0, 1).mean(0) for features in self.maps]).mean(0)

    def __call__(self, index: int, frame: Frame, mask: Tensor) -> Tensor:
        """The mask [H, W] of training frame ``index``, better than the field's ``mask`` [H, W]."""
        if self.query is not None:
            alike = self.likeness(index, mask.shape)
            if not mask.any() or alike[mask].mean() < ALIKE / 2:
                mask = alike > ALIKE
        return refined(self.teacher, frame.image, mask)

    def likeness(self, index: int, size: tuple[int, int]) -> Tensor:
        """Cosine of the frame's map with the query after the video's mean was taken from both, [H, W]."""
        cells = torch.nn.functional.normalize(self.maps[index].float() - self.mean, dim=-1)
        scores = cells @ torch.nn.functional.normalize(self.query - self.mean, dim=0)
        return torch.nn.functional.interpolate(scores[None, None], size, mode="bilinear")[0, 0]


def seen_feature(run, index: int, mask: Tensor) -> Tensor:
    """Mean feature [D] of what ``mask`` [H, W] shows of training frame ``index``, from the teacher's own map."""
    from ..scenes.teachers.cache import feature_maps

    features = feature_maps(run.scene.split("train"), run.teacher(), run.folder / "features")[index].float()
    inside = torch.nn.functional.adaptive_avg_pool2d(mask[None, None].float(), features.shape[:2])[0, 0]
    return (features * inside[..., None]).sum((0, 1)) / inside.sum()


def refined(teacher, image: Tensor, mask: Tensor) -> Tensor:
    """The mask [H, W] that ``teacher`` makes of ``image`` [H, W, 3] when shown a rough ``mask`` [H, W].

    The rough mask is shown as its bounding box and its innermost pixel. Where the answer is about something else (or
    the mask is empty) the rough mask stands.
    """
    if not mask.any():
        return mask
    solid = without_strays(mask)
    pixel, _ = inside_point(solid)
    y, x = solid.nonzero().T
    box = [float(edge) for edge in (x.min(), y.min(), x.max() + 1, y.max() + 1)]
    sharp = teacher.mask(image, [pixel], box=box)
    return sharp if metrics.jaccard(sharp, mask) >= AGREED else mask


def without_strays(mask: Tensor) -> Tensor:
    """``mask`` [H, W] bool without connected parts of less than ``STRAY`` of its area."""
    from scipy.ndimage import label

    parts, _ = label(mask.numpy())
    parts = torch.from_numpy(parts).long()
    area = torch.bincount(parts.flatten())
    keep = area >= STRAY * mask.sum()
    keep[0] = False
    return keep[parts] if keep.any() else mask
