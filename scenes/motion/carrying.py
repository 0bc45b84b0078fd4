"""Where points are while they are hidden: carried along by those around them."""

from __future__ import annotations

import numpy as np

CARRIERS = 8  # points that carry one along
RESTING = 0.3  # weight of no motion at all, where that of one beside it is 1


def carried(places: np.ndarray, seen: np.ndarray, times: np.ndarray, still: np.ndarray, reach: float) -> np.ndarray:
    """Trajectories without gaps: ``places`` [K, F, 3] where they are ``seen`` [K, F], and between moved from frame to
    frame as those within ``reach`` are that are seen in both, or rest: the ``still`` points [P, 3] and a track alone.

    In a gap, onwards from where it was and back from where it will be, the nearer in ``times`` [F] counting more.
    """
    ahead = _swept(places, seen, still, reach)
    back = _swept(places[:, ::-1], seen[:, ::-1], still, reach)[:, ::-1]
    last = np.maximum.accumulate(np.where(seen, times, -np.inf), 1)
    following = np.minimum.accumulate(np.where(seen, times, np.inf)[:, ::-1], 1)[:, ::-1]
    with np.errstate(invalid="ignore"):
        share = np.where(np.isinf(following), 1.0, (following - times) / (following - last))
    share = np.where(seen, 1.0, np.where(np.isinf(last), 0.0, share))[..., None]
    return share * ahead + (1 - share) * back


def _swept(places: np.ndarray, seen: np.ndarray, still: np.ndarray, reach: float) -> np.ndarray:
    """``places`` where ``seen``, and after that moved on by what is around; the middle of the body before."""
    out, known = np.where(seen[..., None], places, 0.0), seen[:, 0].copy()
    for f in range(1, seen.shape[1]):
        both, lost = seen[:, f - 1] & seen[:, f], known & ~seen[:, f]
        around = np.concatenate([out[both, f - 1], still])
        moves = np.concatenate([out[both, f] - out[both, f - 1], np.zeros_like(still)])
        gaps = np.linalg.norm(out[lost, f - 1][:, None] - around, axis=-1)
        nearest = np.argsort(gaps, 1)[:, :CARRIERS]
        weight = np.exp(-0.5 * (np.take_along_axis(gaps, nearest, 1) / reach) ** 2)
        move = (weight[..., None] * moves[nearest]).sum(1) / (weight.sum(1)[:, None] + RESTING)
        out[lost, f] = out[lost, f - 1] + move
        known |= seen[:, f]
    return out
