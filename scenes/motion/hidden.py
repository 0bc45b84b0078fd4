"""Where points of moving things are while they are not seen."""

from __future__ import annotations

import numpy as np

CLOSE = 12  # neighbours that carry a hidden point


def completed(positions: np.ndarray, visible: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Trajectories [N, T, 3] without gaps.

    Frame by frame away from where a point was seen, it is carried by the rigid motion (Kabsch, weighted) that fits
    the points of its group around it that are seen in both frames; where fewer than three are, by their mean
    motion, and where none is, it waits. Between two sights the carrying forwards and backwards are blended.
    """
    ahead, since = _carry(positions, visible, label, 1)
    back, until = _carry(positions, visible, label, -1)
    share = np.where(np.isinf(since), 0, until) / np.maximum(np.where(np.isinf(since), 1, since) + until, 1e-9)
    share = np.where(np.isinf(until), 1.0, np.where(np.isinf(since), 0.0, share))[..., None]
    between = share * np.nan_to_num(ahead) + (1 - share) * np.nan_to_num(back)
    return np.where(visible[..., None], positions, between)


def _carry(positions: np.ndarray, visible: np.ndarray, label: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Trajectories carried on in the direction ``step`` from where they were seen, and the frames since [N, T]:
    0 where seen, infinite before the first sight."""
    path = np.where(visible[..., None], positions, np.nan)
    since = np.where(visible, 0.0, np.inf)
    frames = range(visible.shape[1])[::step]
    for t, following in zip(frames[:-1], frames[1:], strict=True):
        for group in np.unique(label):
            members = np.nonzero(label == group)[0]
            both = members[visible[members, t] & visible[members, following]]
            lost = members[np.isfinite(since[members, t]) & ~visible[members, following]]
            if len(lost):
                path[lost, following] = _carried(path[lost, t], path[both, t], path[both, following])
                since[lost, following] = since[lost, t] + 1
    return path, since


def _carried(points: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """``points`` [P, 3] moved as the matches ``before`` to ``after`` [M, 3] around them."""
    if len(before) == 0:
        return points
    if len(before) < 3:
        return points + (after - before).mean(0)
    distance = np.linalg.norm(points[:, None] - before[None], axis=-1)
    close = np.argsort(distance, axis=1)[:, :CLOSE]
    width = np.take_along_axis(distance, close, 1).mean(1, keepdims=True) + 1e-9
    weight = np.exp(-((np.take_along_axis(distance, close, 1) / width) ** 2))
    weight = weight / weight.sum(1, keepdims=True)
    source, target = before[close], after[close]
    middle_source = (weight[..., None] * source).sum(1)
    middle_target = (weight[..., None] * target).sum(1)
    source, target = source - middle_source[:, None], target - middle_target[:, None]
    covariance = np.einsum("pk,pki,pkj->pij", weight, source, target)
    # a little of the identity keeps the turn about a line of points from being arbitrary
    covariance += 1e-3 * np.trace(covariance, axis1=1, axis2=2)[:, None, None] * np.eye(3)
    u, _, vt = np.linalg.svd(covariance)
    sign = np.linalg.det(np.einsum("pji,pkj->pik", vt, u))
    vt[:, 2] *= sign[:, None]
    rotation = np.einsum("pji,pkj->pik", vt, u)
    return np.einsum("pij,pj->pi", rotation, points - middle_source) + middle_target
