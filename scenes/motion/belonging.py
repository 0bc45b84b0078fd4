"""Which tracks belong to which rigid body: those that its motion explains, wherever they were grouped at first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .rigid import RigidBody, rigid_body
from .sightings import Sightings

ERROR = 1.0  # pixels of median error up to which a body's motion explains a track
BETTER = 0.25  # times that error from which on another body explains a track far better
BEYOND = 1.3  # times a body's own reach from its middle that its points may lie
TOGETHER = 6  # frames of a track that a body's motion must cover
KEPT = 0.75  # share of the tracks of each of two bodies that must fit the motion of both as one
WORSE = 1.4  # times the error of two bodies that they may have as one


def as_points(body: RigidBody, views: Sightings) -> tuple[np.ndarray, np.ndarray]:
    """Each track as if it were a point of ``body``: where [N, 3] in the body, and the median error [N] in pixels.

    The points are triangulated in the frame of the body (least squares of the distances to their viewing rays). The
    error of those seen in too few of its frames, or far outside the body, is infinite.
    """
    riding = views.riding(body.frames, body.rotations, body.places)
    seen = riding.visible & (riding.visible.sum(1) >= TOGETHER)[:, None]
    rays = riding.rays()
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    across = (np.eye(3) - rays[..., None] * rays[..., None, :]) * seen[..., None, None]
    system = across.sum(1) + 1e-9 * np.eye(3)
    points = np.linalg.solve(system, (across @ riding.eyes[..., None]).sum(1))[..., 0]
    error = np.linalg.norm(riding.project(points)[0] - np.nan_to_num(views.pixels), axis=-1)
    error = np.array([np.median(e[s]) if s.any() else np.inf for e, s in zip(error, seen, strict=True)])
    own = np.linalg.norm(body.points, axis=1)
    error[np.linalg.norm(points, axis=1) > BEYOND * np.quantile(own, 0.95)] = np.inf
    return points, error


def regrouped(bodies: list[RigidBody], views: Sightings) -> list[RigidBody]:
    """The ``bodies`` with the tracks that their motions explain as members, each track in one of them.

    Bodies are asked in the order of what they explain and take it all but what another explains far better; what is
    left to a body then may be too little to be one.
    """
    if not bodies:
        return []
    known = [as_points(body, views) for body in bodies]
    errors = np.stack([errors for _, errors in known])
    good = errors < ERROR
    sightings = views.visible.sum(1)
    free, left, out = np.ones(len(views.visible), bool), list(range(len(bodies))), []
    while left:
        best = max(left, key=lambda number: sightings[good[number] & free].sum())
        others = np.min([errors[other] for other in left if other != best], axis=0, initial=np.inf)
        mine = np.flatnonzero(good[best] & free & (others > BETTER * errors[best]))
        out.append(replace(bodies[best], members=mine, points=known[best][0][mine]))
        free[mine] = False
        left.remove(best)
    return out


def touching(a: RigidBody, b: RigidBody, views: Sightings, reach: float) -> bool:
    """Whether points of two bodies are seen within ``reach`` pixels of each other in most frames that show both."""
    near = []
    for frame in np.intersect1d(a.frames, b.frames):
        mine, theirs = (body.members[views.visible[body.members, frame]] for body in (a, b))
        if len(mine) and len(theirs):
            gaps = np.linalg.norm(views.pixels[mine, frame][:, None] - views.pixels[theirs, frame][None], axis=-1)
            near.append(gaps.min() < reach)
    return len(near) >= TOGETHER and float(np.mean(near)) > 0.5


def merged(bodies: list[RigidBody], guess: np.ndarray, reach: float, views: Sightings) -> list[RigidBody]:
    """The ``bodies``, those made one that one motion explains nearly as well as their own.

    Args:
        guess: positions [N, T, 3] of all tracks in scene units.
        reach: pixels between neighbouring points of two bodies up to which they may be one.
    """
    left, done = sorted(bodies, key=lambda body: -len(body.members)), []
    while left:
        body = left.pop(0)
        for other in list(left):
            if not touching(body, other, views, reach):
                continue
            # the other's points where its own motion and then, as far as that goes, this one's puts them
            points, errors = as_points(body, views)
            known = other.members[np.isfinite(errors[other.members])]
            guessed = guess.copy()
            for part in (other, replace(body, members=known, points=points[known]), body):
                guessed[np.ix_(part.members, part.frames)] = part.positions
            union = np.concatenate([body.members, other.members])
            both = rigid_body(union, [guessed], views)
            if both is None or any(np.isin(part.members, both.members).mean() < KEPT for part in (body, other)):
                continue
            if both.error < WORSE * max(body.error, other.error):
                body = both
                left = [part for part in left if part is not other]
        done.append(body)
    return done
