"""The order of points along a Z-shaped curve, in which neighbours in space are neighbours in memory."""

from __future__ import annotations

import torch
from torch import Tensor

# How the 21 bits of a coordinate are moved apart until two zeros lie between each.
_STEPS = (
    (32, 0x1F00000000FFFF), (16, 0x1F0000FF0000FF), (8, 0x100F00F00F00F00F), (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)  # fmt: skip


def morton_order(points: Tensor) -> Tensor:
    """Indices [N] that sort points [N, 3] by the interleaved bits of their coordinates (Morton 1966)."""
    low, high = points.amin(0), points.amax(0)
    cells = ((points - low) / (high - low).clamp_min(1e-30) * (2**21 - 1)).long()
    for shift, mask in _STEPS:
        cells = (cells | cells << shift) & mask
    return (cells << torch.arange(3)).sum(1).argsort()
