"""Masks at the resolution of the picture: the field says which thing is meant, the teacher where it ends."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fields import metrics
from .masks import connected_parts, inside_point

STRAY = 0.1  # share of a mask below which a part apart from the rest does not stretch the box
AGREED = 0.5  # intersection over union with the rough mask from which the teacher's is believed


def seen_feature(run, index: int, mask: Tensor) -> Tensor:
    """Mean feature [D] of what ``mask`` [H, W] shows of training frame ``index``, from the teacher's own map."""
    from ..scenes.teachers.cache import feature_maps

    features = feature_maps(run.scene.split("train"), run.teacher(), run.folder / "features")[index].float()
    inside = torch.nn.functional.adaptive_avg_pool2d(mask[None, None].float(), features.shape[:2])[0, 0]
    return (features * inside[..., None]).sum((0, 1)) / inside.sum()


def refined(teacher, image: Tensor, mask: Tensor) -> tuple[Tensor, bool]:
    """The mask [H, W] that ``teacher`` makes of ``image`` [H, W, 3] when shown a rough ``mask`` [H, W].

    The rough mask is shown as its bounding box and its innermost pixel; of the teacher's candidates the one that
    agrees with it best is taken. Where all are about something else (or the mask is empty) the rough mask stands.
    Also returns whether the teacher's was taken.
    """
    if not mask.any():
        return mask, False
    solid = without_strays(mask)
    pixel, _ = inside_point(solid)
    y, x = solid.nonzero().T
    box = [float(edge) for edge in (x.min(), y.min(), x.max() + 1, y.max() + 1)]
    candidates, _ = teacher.masks(image, [pixel], box=box)
    agreement = [metrics.jaccard(candidate, mask) for candidate in candidates]
    best = max(range(len(agreement)), key=agreement.__getitem__)
    return (candidates[best], True) if agreement[best] >= AGREED else (mask, False)


def without_strays(mask: Tensor) -> Tensor:
    """``mask`` [H, W] bool without connected parts of less than ``STRAY`` of its area."""
    parts = connected_parts(mask)
    area = torch.bincount(parts.flatten())
    keep = area >= STRAY * mask.sum()
    keep[0] = False
    return keep[parts] if keep.any() else mask
