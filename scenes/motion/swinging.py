"""How far away what swings or bends on a body is: where it swings least, in shares of the distance.

Seen by somebody who rides on the body, its parts swing about places of their own while the cameras go by. A track at a
wrong distance would swing along with the cameras. Least squares put it too near, since nearer all swings are smaller;
in shares of the distance they are not. That is what the likelihood of the pictures asks for: seen through pixels and
depth d, a swing in space has a density d^2 times as large (change of variables).
"""

from __future__ import annotations

import numpy as np

from .segments import apartness

LASTING = 5  # usual steps from frame to frame in which a swing changes much
AROUND = 16  # tracks, with its own, that swing about as much as one
ROUNDS = 3  # of finding out how much that is


def swinging(rays: np.ndarray, eyes: np.ndarray, visible: np.ndarray, times: np.ndarray, middle: np.ndarray,
             radius: float, swing: np.ndarray, drift: float) -> np.ndarray:
    """Depth [N, T] of tracks where they are ``visible`` [N, T], as seen by somebody who rides on their body.

    Per track the positions x = eyes + d rays are a Gaussian process: a place of its own, some ``radius`` from the
    body's middle, and a swing about it that is smooth in time. With its inverse covariance Q the depths d minimise
    x Q x - 2 m sum log d, where m is what x Q x comes to per sighting among the tracks that stay beside this one. For
    all of these together that is the least x Q x in shares of the squared distance; one alone would be too few frames
    to tell its own swing from that of the cameras.

    Args:
        rays, eyes: directions of unit z-depth [N, T, 3] and camera centres [T, 3], the body's middle the origin.
        times: of the frames, in usual steps from one to the next [T].
        middle: z-depth [T] of the body's middle; no track is nearer than half of it or farther than twice.
        radius: of the body; swing: [N] of a track about its place; drift: off the point it follows. Standard deviations
            in scene units.
    """
    smooth = np.exp(-0.5 * ((times[:, None] - times) / LASTING) ** 2)
    common = radius**2 + drift**2 * np.eye(len(times))
    systems = [_system(track[seen], eyes[seen], (common + size**2 * smooth)[np.ix_(seen, seen)])
               for track, seen, size in zip(rays, visible, swing, strict=True)]
    nearest, farthest = 0.5 * middle, 2 * middle
    depth = np.tile(middle, (len(rays), 1))
    weights, beside = np.zeros(len(rays)), None
    for _ in range(1 + ROUNDS):
        for own, seen, (A, b, _), weight in zip(depth, visible, systems, weights, strict=True):
            now = own[seen]  # Newton: -2 m log d to second order about where it is now
            found = np.linalg.solve(A + weight * np.diag(now**-2.0), b + 2 * weight / now)
            own[seen] = np.clip(found, nearest[seen], farthest[seen])
        if beside is None:
            apart = apartness(eyes + rays * depth[..., None], visible)
            np.fill_diagonal(apart, 0)
            beside = np.argsort(apart, 1)[:, :AROUND]
        swings = np.array([own[seen] @ A @ own[seen] - 2 * b @ own[seen] + c
                           for own, seen, (A, b, c) in zip(depth, visible, systems, strict=True)])
        weights = swings[beside].sum(1) / np.maximum(visible.sum(1)[beside].sum(1), 1)
    return depth


def _system(rays: np.ndarray, eyes: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """A, b, c of x Q x = d A d - 2 b d + c for the depths d of one track."""
    inverse = np.linalg.inv(covariance)
    pulled = inverse @ eyes
    return inverse * (rays @ rays.T), -(rays * pulled).sum(1), float((eyes * pulled).sum())
