"""Features of places on planes, in plain torch: any dtype, gradients by autograd. The oracle of ``kernels.planes``."""

from __future__ import annotations

import torch
from torch import Tensor

PAIRS = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # axis of a plane's columns, of its rows


def cells(x: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two of ``count`` cells from -1 to 1 between whose middles coordinates lie, and the second one's weight."""
    at = ((x + 1) * count / 2 - 0.5).clamp(0, count - 1)
    first = at.detach().floor().long()
    return first, (first + 1).clamp(max=count - 1), (at - first)[:, None]


def on_plane(plane: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear values [P, C] of a plane [rows, columns, C] at coordinates [P]."""
    (left, right, wx), (top, bottom, wy) = cells(x, plane.shape[1]), cells(y, plane.shape[0])
    above = (1 - wx) * plane[top, left] + wx * plane[top, right]
    below = (1 - wx) * plane[bottom, left] + wx * plane[bottom, right]
    return (1 - wy) * above + wy * below


def sample_planes(places: Tensor, space: list[Tensor], time: list[Tensor] | tuple = ()) -> Tensor:
    """Features [P, C of all levels] at places [P, D] without NaN."""
    features = []
    for i, level in enumerate(space):
        planes = [*level, *(time[i] if time else [])]
        read = [on_plane(plane, places[:, a], places[:, b]) for plane, (a, b) in zip(planes, PAIRS, strict=False)]
        features.append(torch.stack(read).prod(0))
    return torch.cat(features, 1)
