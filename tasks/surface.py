"""The surface that a rendering shows, as points, and whether matter moves."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fields.rendering import Rendering

STILL = 0.02  # of the usual depth: what travels less far in the whole video stands still
BREAK = 0.05  # of inverse depth: a second difference that no surface has within a pixel


def surface(rendering: Rendering) -> tuple[Tensor, Tensor]:
    """Points [P, 3] in the world at the rendered depth, and the pixels bool [H, W] that they are of, row by row.

    Pixels that show less of the field than of what is behind it have none.
    """
    depth = rendering.depth
    shown = (depth > 0) & (rendering.alpha > 0.5)
    center, directions = rendering.camera.to(depth.device).rays()
    return center + directions[shown] * depth[shown][:, None], shown


def smooth(depth: Tensor) -> Tensor:
    """Pixels bool [H, W] of a depth map where the surface does not break off, as it does at outlines, where rendered
    depth is a mean of what lies before and behind.

    Inverse depth is linear over the picture of a plane; its second differences tell how far a surface is from one.
    """
    inverse = torch.where(depth > 0, 1 / depth.clamp_min(1e-9), 0)
    bend = torch.zeros_like(inverse)
    bend[1:-1] = inverse.diff(n=2, dim=0).abs()
    bend[:, 1:-1] = torch.maximum(bend[:, 1:-1], inverse.diff(n=2, dim=1).abs())
    bend = torch.nn.functional.max_pool2d(bend[None, None], 3, 1, 1)[0, 0]  # a break takes a pixel or two
    return (depth > 0) & (bend < BREAK * inverse)


def travel(paths: Tensor, start: Tensor) -> Tensor:
    """How far from ``start`` [P, 3] each of the trajectories [P, T, 3] gets, [P]."""
    return (paths - start[:, None]).norm(dim=-1).amax(1)
