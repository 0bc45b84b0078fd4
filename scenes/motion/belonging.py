"""Which tracks belong to which rigid body: those that its motion explains, wherever they were grouped at first."""

from __future__ import annotations

import numpy as np

from .rigid import RigidBody

ERROR = 0.6  # pixels of median error up to which a body's motion explains a track
BEYOND = 1.3  # times a body's own reach from its middle that its points may lie
TOGETHER = 6  # frames of a track that a body's motion must cover


def explained(body: RigidBody, pixels: np.ndarray, visible: np.ndarray, viewmats: np.ndarray, Ks: np.ndarray):
    """Median error [N] in pixels of each track if it were a point of ``body``; infinite where that cannot be.

    Each track's point is triangulated in the frame of the body (least squares of the distances to its viewing rays).

    Args:
        pixels: [N, T, 2]; visible: [N, T]; viewmats: [T, 4, 4]; Ks: [T, 3, 3].
    """
    frames = body.frames
    V, K = viewmats[frames], Ks[frames]
    seen = visible[:, frames] & (visible[:, frames].sum(1) >= TOGETHER)[:, None]
    spots = np.nan_to_num(pixels[:, frames]).astype(float)
    ray = np.einsum("fij,nfj->nfi", np.linalg.inv(K), np.concatenate([spots, np.ones_like(spots[..., :1])], -1))
    ray = np.einsum("fji,fkj,nfk->nfi", body.rotations, V[:, :3, :3], ray)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    eye = -np.einsum("fji,fj->fi", V[:, :3, :3], V[:, :3, 3])
    eye = np.einsum("fji,fj->fi", body.rotations, eye - body.places)
    across = (np.eye(3) - ray[..., None] * ray[..., None, :]) * seen[..., None, None]
    system = across.sum(1) + 1e-9 * np.eye(3)
    points = np.linalg.solve(system, (across @ eye[..., None]).sum(1))[..., 0]
    world = np.einsum("fij,nj->nfi", body.rotations, points) + body.places
    local = np.einsum("fij,nfj->nfi", V[:, :3, :3], world) + V[:, :3, 3]
    image = np.einsum("fij,nfj->nfi", K, local / np.maximum(local[..., 2:], 1e-3))
    error = np.linalg.norm(image[..., :2] - spots, axis=-1)
    error = np.array([np.median(e[s]) if s.any() else np.inf for e, s in zip(error, seen, strict=True)])
    own = np.linalg.norm(body.points, axis=1)
    error[np.linalg.norm(points, axis=1) > BEYOND * np.quantile(own, 0.95)] = np.inf
    return error


def regrouped(bodies: list[RigidBody], pixels, visible, viewmats, Ks) -> list[np.ndarray]:
    """The tracks of each body anew: each track goes to the body that explains it best, if any does.

    Bodies are asked in the order of what they explain, and take all that they explain about as well as any other;
    what is left to a body then may be too little to be one.
    """
    if not bodies:
        return []
    errors = np.stack([explained(body, pixels, visible, viewmats, Ks) for body in bodies])
    good = errors < np.minimum(ERROR, 2 * errors.min(0) + 0.1)
    sightings = visible.sum(1)
    free, groups = np.ones(len(visible), bool), []
    left = list(range(len(bodies)))
    while left:
        best = max(left, key=lambda number: sightings[good[number] & free].sum())
        mine = good[best] & free
        groups.append(np.flatnonzero(mine))
        free &= ~mine
        left.remove(best)
    return groups
