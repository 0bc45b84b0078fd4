"""True trajectories of points of matter, with visibility."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..camera import Camera
from ..scene import Tracks

if TYPE_CHECKING:
    from .worlds import World

POINTS = 256  # on each moving body, and on all that stands still
CANDIDATES = 16  # times as many are tried on what stands still, most of which no camera sees
TOLERANCE = 2e-3  # scene units by which a ray may meet the surface before the point on it


def tracks(world: World, cameras: Sequence[Camera], times: Sequence[float]) -> Tracks:
    """Points spread evenly over the surfaces of ``world`` and where they go, seen by one camera per
    time.

    256 on each moving body, and 256 on what stands still; the latter are seen in one frame at
    least.
    """
    surface = world.surface
    picks = [
        _sample(world, surface.body == index, POINTS, f"{world.seed} tracks {body.name}")
        for index, body in enumerate(world.bodies)
        if body.moves
    ]
    picks.append(_sample(world, ~surface.moves, CANDIDATES * POINTS, f"{world.seed} tracks"))
    face, weights = (torch.cat(columns) for columns in zip(*picks, strict=True))
    positions, visible = [], []
    for camera, time in zip(cameras, times, strict=True):
        corners = world.vertices(time)[surface.faces[face]]
        points = (corners * weights[..., None]).sum(1).float()
        positions.append(points)
        visible.append(in_sight(world, camera, time, points))
    positions, visible = torch.stack(positions, 1), torch.stack(visible, 1)

    still = len(face) - CANDIDATES * POINTS
    kept = visible.any(1)
    kept[:still] = True
    kept = kept.nonzero()[: still + POINTS, 0]
    face = face[kept]
    return Tracks(
        positions[kept],
        visible[kept],
        torch.tensor(times),
        surface.label[face],
        surface.instance[face],
        surface.part[face],
    )


def in_sight(world: World, camera: Camera, time: float, points: Tensor) -> Tensor:
    """Whether ``camera`` sees points [N, 3] on surfaces: in the image, and nothing before them."""
    pixels, depth = camera.project(points)
    size = torch.tensor([camera.width, camera.height])
    inside = (depth > 0) & ((pixels >= 0) & (pixels < size)).all(-1)
    origin = camera.center
    way = points - origin
    distance = way.norm(dim=-1, keepdim=True)
    hits = world.geometry(time).mesh.cast(origin.expand_as(way), way / distance)
    clear = (hits.face < 0) | (hits.distance >= distance[:, 0] - TOLERANCE)
    return inside & clear


def _sample(world: World, members: Tensor, count: int, name: str) -> tuple[Tensor, Tensor]:
    """Faces [N] and corner weights [N, 3] of random points, evenly over the ``members`` [F]."""
    corners = world.vertices(0.0)[world.surface.faces]
    edges = corners[:, 1:] - corners[:, :1]
    area = (torch.linalg.cross(edges[:, 0], edges[:, 1]).norm(dim=-1) * members).numpy()
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    face = generator.choice(len(area), count, p=area / area.sum())
    return torch.from_numpy(face), torch.from_numpy(generator.dirichlet([1, 1, 1], count))
