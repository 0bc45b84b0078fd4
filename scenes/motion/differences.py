"""Differences of paths over frames that need not be evenly spaced, and what they tell about a camera's path."""

from __future__ import annotations

from math import factorial

import numpy as np

HIGH = 7  # order of the differences in which a hand's movement has died away, and the noise of single frames has not


def differences(times: np.ndarray, order: int) -> np.ndarray:
    """Divided differences [T - order, T]: times a path at the ascending ``times`` [T], its derivative of ``order``.

    For frames one apart these are the plain differences. None where there are too few frames.
    """
    count = max(0, len(times) - order)
    out = np.zeros((count, len(times)))
    for row in range(count):
        knots = times[row : row + order + 1]
        gaps = knots[:, None] - knots + np.eye(order + 1)
        out[row, row : row + order + 1] = factorial(order) / gaps.prod(1)
    return out


def noise_share(path: np.ndarray, times: np.ndarray, order: int) -> float:
    """How much of the differences of a path [T, 3] of the given order is noise of single frames, 0..1.

    Of independent errors differences of every order keep as much, by the size of their coefficients, while those of a
    movement that lasts over frames fade with the order. 1 where there are too few frames to tell.
    """
    powers = []
    for k in (order, HIGH):
        D = differences(times, k)
        powers.append(np.square(D @ path / np.linalg.norm(D, axis=1, keepdims=True)).sum(1).mean() if len(D) else 0.0)
    return float(min(1.0, powers[1] / powers[0])) if min(powers) > 0 else 1.0
