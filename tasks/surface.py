"""The surface that a rendering shows, as points, and whether matter moves."""

from __future__ import annotations

from torch import Tensor

from ..fields.rendering import Rendering

STILL = 0.02  # of the usual depth: what travels less far in the whole video stands still


def surface(rendering: Rendering) -> tuple[Tensor, Tensor]:
    """Points [P, 3] in the world at the rendered depth, and the pixels bool [H, W] that they are of, row by row.

    Pixels that show less of the field than of what is behind it have none.
    """
    depth = rendering.depth
    shown = (depth > 0) & (rendering.alpha > 0.5)
    center, directions = rendering.camera.to(depth.device).rays()
    return center + directions[shown] * depth[shown][:, None], shown


def travel(paths: Tensor, start: Tensor) -> Tensor:
    """How far from ``start`` [P, 3] each of the trajectories [P, T, 3] gets, [P]."""
    return (paths - start[:, None]).norm(dim=-1).amax(1)
