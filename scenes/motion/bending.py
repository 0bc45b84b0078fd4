"""What moves with a body without being rigid with it: cloth, limbs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..camera import Camera
from .belonging import as_points
from .least_motion import least_motion, viewing_rays
from .rigid import RigidBody

MOSTLY = 0.6  # share of a group's tracks from which on bodies explain it, and the rest are errors
BENDING = 0.03  # by how much a point of a thing that bends leaves the depth of the body, in shares of it


def limbs(groups: list[np.ndarray], bodies: list[RigidBody], *views) -> list[RigidBody]:
    """What moves with a body without being rigid with it: of the ``groups`` that bodies explain only in part, the rest
    of the tracks, as if they were points of the body that explains most.

    Args:
        groups: tracks [K] that stay beside each other.
        views: pixels [N, T, 2], visible [N, T], viewmats [T, 4, 4] and Ks [T, 3, 3].
    """
    taken = np.concatenate([body.members for body in bodies]) if bodies else np.zeros(0, int)
    found = []
    for group in groups:
        share = np.isin(group, taken).mean()
        if not 0 < share < MOSTLY:
            continue
        body = max(bodies, key=lambda body: np.isin(group, body.members).sum())
        rest = np.setdiff1d(group, taken)
        points, error = as_points(body, *views)
        points = np.where(np.isfinite(error)[:, None], points, 0.0)
        found.append(replace(body, members=rest, points=points[rest], error=np.inf))
        taken = np.concatenate([taken, rest])
    return found


def bent(body: RigidBody, pixels: np.ndarray, visible: np.ndarray, cameras: list[Camera]) -> np.ndarray:
    """Positions [K, F, 3] of the members of a body that is not quite rigid: where they are seen, at the depth at which
    they move least against the body; between, as far from the body as before and after.

    Args:
        pixels: [N, T, 2]; visible: [N, T]; cameras: T.
    """
    where, cameras = np.ix_(body.members, body.frames), [cameras[f] for f in body.frames]
    carrier, seen = body.positions, visible[where]
    eyes = np.stack([camera.center.double().numpy() for camera in cameras])
    places = torch.from_numpy(carrier).float()
    depth = torch.stack([camera.project(places[:, j])[1] for j, camera in enumerate(cameras)], 1).double().numpy()
    rays = viewing_rays(pixels[where].astype(np.float32), cameras)
    away = least_motion(rays, eyes, seen, depth, carrier, BENDING).double().numpy() - carrier
    steps = np.arange(len(cameras))
    for offset, known in zip(away, seen, strict=True):
        for axis in range(3):
            offset[:, axis] = np.interp(steps, steps[known], offset[known, axis]) if known.any() else 0.0
    return carrier + away
