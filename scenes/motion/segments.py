"""Which tracks belong to one moving thing: those that stay beside each other in space."""

from __future__ import annotations

import numpy as np

NEIGHBORS = 6
TOGETHER = 6  # frames in which two tracks must both be seen to be compared


def segments(positions: np.ndarray, visible: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """A segment number for each track [N].

    Tracks are joined when they are among each other's nearest, nearer than ``reach`` [N] on average over the frames
    that show both, a change of distance counting three times, and have two more such neighbours in common, so that
    one stray track does not join two things.

    Args:
        positions: [N, T, 3], NaN where not visible.
        visible: [N, T].
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(positions)
    apart = apartness(positions, visible)
    nearest = np.argsort(apart, 1)[:, :NEIGHBORS]
    joined = np.zeros((count, count), bool)
    rows = np.arange(count)[:, None]
    joined[rows, nearest] = apart[rows, nearest] < reach[:, None]
    joined |= joined.T
    shared = joined.astype(np.float32) @ joined.astype(np.float32)
    return connected_components(csr_matrix(joined & (shared >= 2)))[1]


def apartness(positions: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """How far apart tracks [N, T, 3] are [N, N]: their distance on average over the frames that show both, a change of
    it counting three times. Infinite where that are too few, and to itself."""
    count = len(positions)
    filled = np.nan_to_num(positions)
    apart = np.full((count, count), np.inf)
    for n in range(count):
        both = visible[n] & visible
        together = both.sum(1)
        distance = np.linalg.norm(filled - filled[n], axis=-1)
        mean = (distance * both).sum(1) / np.maximum(together, 1)
        change = (np.abs(distance - mean[:, None]) * both).sum(1) / np.maximum(together, 1)
        apart[n] = np.where(together >= TOGETHER, mean + 3 * change, np.inf)
        apart[n, n] = np.inf
    return apart
