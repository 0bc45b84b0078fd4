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
    from .world import World

PER_MOVING_BODY, STATIC = (
    256,
    256,
)  # how many points: on each moving body, and on all that stands still
TOLERANCE = 2e-3  # scene units by which a ray may meet the surface before the point on it


def tracks(world: World, cameras: Sequence[Camera], times: Sequence[float], seed: int) -> Tracks:
    """Points spread evenly over the surfaces of ``world`` and where they go, as seen by one camera per time."""
    face, weights = _sample(world, seed)
    surface = world.surface
    positions, visible = [], []
    for camera, time in zip(cameras, times, strict=True):
        corners = world.vertices(time)[surface.faces[face]]
        points = (corners * weights[..., None]).sum(1)
        positions.append(points.float())
        visible.append(in_sight(world, camera, time, points.float()))
    return Tracks(
        torch.stack(positions, 1),
        torch.stack(visible, 1),
        torch.tensor(times),
        surface.label[face],
        surface.instance[face],
        surface.part[face],
    )


def in_sight(world: World, camera: Camera, time: float, points: Tensor) -> Tensor:
    """Whether ``camera`` sees points [N, 3] of the world's surfaces at ``time``: in the image, and nothing before."""
    pixels, depth = camera.project(points)
    size = torch.tensor([camera.width, camera.height])
    inside = (depth > 0) & ((pixels >= 0) & (pixels < size)).all(-1)
    origin = camera.center
    way = points - origin
    distance = way.norm(dim=-1, keepdim=True)
    hits = world.geometry(time).mesh.cast(origin.expand_as(way), way / distance)
    clear = (hits.face < 0) | (hits.distance >= distance[:, 0] - TOLERANCE)
    return inside & clear


def _sample(world: World, seed: int) -> tuple[Tensor, Tensor]:
    """Faces [N] and corner weights [N, 3] of random points, evenly over each moving body and over all still ones."""
    surface = world.surface
    corners = world.vertices(0.0)[surface.faces]
    area = (
        torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(
            dim=-1
        )
        / 2
    )
    groups = [
        (body.name, surface.body == index) for index, body in enumerate(world.bodies) if body.moves
    ]
    groups.append(("", ~surface.moves))
    faces, weights = [], []
    for name, members in groups:
        count = PER_MOVING_BODY if name else STATIC
        generator = np.random.default_rng(zlib.crc32(f"{seed} tracks {name}".encode()))
        share = (area * members).numpy()
        if not share.any():
            continue
        faces.append(generator.choice(len(share), count, p=share / share.sum()))
        weights.append(generator.dirichlet([1, 1, 1], count))
    return torch.from_numpy(np.concatenate(faces)), torch.from_numpy(np.concatenate(weights))
