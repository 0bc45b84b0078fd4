"""The motion of a rigid thing from its 2D tracks: structure from motion of one body."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .bundle import NOISE, Body, Views, adjust
from .sightings import Sightings

LEAST = 4  # tracks needed to see how a body turns between two frames
MEDIAN = 1.18  # of the length of a vector of two normal variates, in standard deviations
NOISES = (0.05, 0.3)  # pixels that it may be
STRAY = 1.2  # pixels of median error from which on a track is not one of the body's


@dataclass
class RigidBody:
    """A body and its poses.

    Attributes:
        members: [K] which tracks are its points.
        frames: [F] the frames in which its pose is known, consecutive.
        points: [K, 3] of the body, its middle being the origin.
        rotations, places: body to world, [F, 3, 3] and [F, 3].
        error: median reprojection error in pixels.
        deviation: relative standard deviation of the distance from the cameras, as far as smooth motion tells it.
    """

    members: np.ndarray
    frames: np.ndarray
    points: np.ndarray
    rotations: np.ndarray
    places: np.ndarray
    error: float
    deviation: float

    @property
    def positions(self) -> np.ndarray:
        """[K, F, 3] where its points are in the world, seen or not."""
        return np.einsum("fij,kj->kfi", self.rotations, self.points) + self.places

    def resized(self, scale: float, eyes: np.ndarray) -> RigidBody:
        """The same body ``scale`` times as far from the cameras at ``eyes`` [F, 3] and as large."""
        return replace(self, points=scale * self.points, places=eyes + scale * (self.places - eyes))


def rigid_body(members: np.ndarray, guesses: list[np.ndarray], views: Sightings, steps: int = 20) -> RigidBody | None:
    """The rigid motion that explains the tracks ``members`` [K] of one segment best, or None.

    Poses are chained from guessed positions (Kabsch) and refined together with the shape and the distance
    (:func:`.bundle.adjust`); of several guesses the one that ends best is kept. Tracks that do not fit are left out.

    Args:
        guesses: arrays [N, T, 3] of positions in scene units; NaN where not known.
        steps: of the bundle adjustment at most.
    """
    solutions = []
    for guess in guesses:
        chained = _chain(members, guess, views.visible)
        if chained is not None:
            solutions.append(_solved(*chained, views, steps))
    return min(solutions, key=lambda solution: solution[1])[0] if solutions else None


def _solved(members, frames, points, R, t, sightings: Sightings, steps: int) -> tuple[RigidBody, float]:
    """The body, and the cost of its first solution per sighting: a chain over more frames explains more."""
    center, eyes = points.mean(0), sightings.eyes[frames]
    first = adjust(
        Body(points - center, R, R @ center + t - eyes), _views(members, frames, sightings, NOISE), steps
    )
    # How well the points are seen their errors tell; those that do not fit are left out.
    point = np.nonzero(sightings.visible[members][:, frames].T)[1]
    noise = float(np.clip(np.median(first.errors) / MEDIAN, *NOISES))
    fits = np.array([np.median(first.errors[point == k]) for k in range(len(members))]) < STRAY
    fits |= fits.sum() <= LEAST
    members, body = members[fits], replace(first.body, points=first.body.points[fits])
    found = adjust(body, _views(members, frames, sightings, noise), steps)
    body, error = found.body, float(np.median(found.errors))
    points, places = body.points / body.unit, body.offsets / body.unit + eyes
    solved = RigidBody(members, frames, points, body.rotations, places, error, found.deviation)
    return solved, first.cost / len(first.errors)


def _views(members, frames, sightings: Sightings, noise: float) -> Views:
    frame, point = np.nonzero(sightings.visible[members][:, frames].T)
    spots = sightings.pixels[members][point, frames[frame]]
    turns = sightings.viewmats[frames][:, :3, :3]
    eyes, Ks, times = sightings.eyes[frames], sightings.Ks[frames], sightings.times[frames]
    return Views(eyes, turns, Ks, times, frame, point, spots, noise)


def _chain(members, guess, visible):
    seen = visible[members]
    X = np.nan_to_num(guess[members])
    steps = seen.shape[1]
    enough = np.flatnonzero(seen.sum(0) >= LEAST)
    if len(enough) < 4:
        return None
    start = enough[seen[:, enough].sum(0).argmax()]
    R, t = np.tile(np.eye(3), (steps, 1, 1)), np.zeros((steps, 3))
    known = np.zeros(steps, bool)
    known[start] = True
    points = np.full((len(members), 3), np.nan)
    points[seen[:, start]] = X[seen[:, start], start]
    for order in (range(start + 1, steps), range(start - 1, -1, -1)):
        for f in order:
            both = seen[:, f] & np.isfinite(points[:, 0])
            if both.sum() < LEAST:
                break
            R[f], t[f] = _kabsch(points[both], X[both, f])
            known[f] = True
            new = seen[:, f] & ~np.isfinite(points[:, 0])
            points[new] = (X[new, f] - t[f]) @ R[f]
    frames = np.flatnonzero(known)
    keep = np.isfinite(points[:, 0]) & (seen[:, frames].sum(1) >= LEAST)
    if keep.sum() < LEAST + 1 or len(frames) < 4:
        return None
    seen, X, points = seen[keep], X[keep], points[keep]
    for _ in range(15):  # poses and points in turn
        total = np.zeros_like(points)
        for f in frames:
            k = seen[:, f]
            total[k] += (X[k, f] - t[f]) @ R[f]
        points = total / seen[:, frames].sum(1)[:, None]
        for f in frames:
            k = seen[:, f]
            if k.sum() >= LEAST:
                R[f], t[f] = _kabsch(points[k], X[k, f])
    return members[keep], frames, points, R[frames], t[frames]


def _kabsch(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R, t with R a + t nearest to b, for points [K, 3]."""
    ca, cb = a.mean(0), b.mean(0)
    U, _, Vt = np.linalg.svd((a - ca).T @ (b - cb))
    sign = np.sign(np.linalg.det(Vt.T @ U.T))
    R = Vt.T @ np.diag([1, 1, sign]) @ U.T
    return R, cb - R @ ca
