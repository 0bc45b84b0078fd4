"""Masks at the resolution of the picture: the field says which thing is meant, the teacher where it ends."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fields import metrics
from .masks import inside_point

STRAY = 0.1  # share of a mask below which a part apart from the rest does not stretch the box
AGREED = 0.5  # intersection over union with the field's mask from which the teacher's is believed


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
