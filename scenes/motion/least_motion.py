"""Depth of 2D tracks by the least motion in the world: the first guess of where moving things are.

From one moving camera the distance of a moving thing is not determined: any point of each viewing ray will do. A thing
put at a wrong distance however moves along with the camera, so the trajectory that moves least is a fair guess, and for
what hardly moves a good one. A weak prior keeps it near the depth that its surroundings suggest.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PRIOR = 0.2  # relative error of the prior depth for which a step of one unit per video weighs the same


def least_motion(
    rays: np.ndarray, centers: np.ndarray, visible: np.ndarray, times: np.ndarray, prior: np.ndarray
) -> Tensor:
    """Positions [N, T, 3] on the ``rays`` [N, T, 3] from ``centers`` [T, 3]; NaN where not ``visible`` [N, T].

    Per track the z-depths d minimise sum |x(t+1) - x(t)|^2 T^2 + sum ((d - prior) / (PRIOR prior))^2, x = c + d r,
    a linear least-squares problem. ``times`` [T] are in usual steps: where frames are missing, a step is longer than 1.
    """
    count, steps = visible.shape
    out = np.full((count, steps, 3), np.nan)
    for n in range(count):
        seen = np.flatnonzero(visible[n])
        if not len(seen):
            continue
        direction, origin, guess = rays[n, seen], centers[seen], prior[n, seen]
        rate = steps / np.diff(times[seen])[:, None]
        system = np.zeros((len(seen) - 1, 3, len(seen)))
        row = np.arange(len(seen) - 1)
        system[row, :, row] = -direction[:-1] * rate
        system[row, :, row + 1] = direction[1:] * rate
        target = -(origin[1:] - origin[:-1]) * rate
        anchor = np.diag(1 / (PRIOR * guess))
        A = np.concatenate([system.reshape(-1, len(seen)), anchor])
        b = np.concatenate([target.ravel(), np.full(len(seen), 1 / PRIOR)])
        depth = np.linalg.solve(A.T @ A, A.T @ b)
        out[n, seen] = origin + np.clip(depth, 0.2 * guess, 5 * guess)[:, None] * direction
    return torch.from_numpy(out).float()
