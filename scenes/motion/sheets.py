"""Things that bend all over, as cloth does: their points placed all together, by the distances that they keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .bending import bent
from .isometry import ROUGH, Isometry, Usual
from .rigid import RigidBody
from .segments import apartness
from .sightings import Sightings

POINTS = 200  # of a sheet, spread over it
LINKS = (0, 1, 2, 3, 4, 5, 7, 9, 14, 22)  # which of the others, by how far they are, a point keeps its distance to
STEPS = 12  # of each adjustment at most
FOLLOWED = 0.5  # pixels of median reprojection error up to which the sheet explains its tracks
UNSTRETCHED = 0.02  # median relative change of lengths up to which it is one
ELSEWHERE = 1.0  # radii of the thing that its points may be, in the median, from where they were guessed


@dataclass(frozen=True)
class Sheet:
    """Tracks [K] that are points of a thing which bends and does not stretch, and where they are [K, F, 3]."""

    members: np.ndarray
    positions: np.ndarray


def sheet(tracks: np.ndarray, bodies: list[RigidBody], frames: np.ndarray, guess: np.ndarray,
          views: Sightings) -> Sheet | None:
    """The ``tracks`` [K] of one thing as points of a sheet; None where they do not fit one.

    Seen from nearly square on, a surface that bends one way looks as one that bends the other way, so that a guess of
    all of it is easily half wrong. Several are adjusted: for each of the ``bodies`` of the thing, how its tracks would
    swing on that alone, as cloth does on a pole. The likeliest is kept. What is beside what, and how far away the whole
    is, the guess tells.

    Args:
        frames: [F] in which the thing is known, those of one of the bodies.
        guess: positions [K, F, 3] of the tracks in scene units.
    """
    apart = apartness(guess, views.visible[np.ix_(tracks, frames)])
    spread = _spread(apart, POINTS)
    links, known = _links(apart[np.ix_(spread, spread)])
    if len(known) <= len(LINKS):
        return None  # too few to tell
    spread = spread[known]
    members = tracks[spread]
    own = views.only(members).during(frames)
    starts = [
        bent(body, members, views, np.zeros((0, 3)))[:, np.isin(body.frames, frames)]
        for body in bodies if np.isin(frames, body.frames).all()
    ]
    rough = Isometry(own, links, guess[spread], ROUGH)
    likeliest = min((rough.adjust(start, STEPS) for start in starts), key=lambda found: found.cost)
    found = Isometry(own, links, guess[spread], Usual()).adjust(likeliest.positions, STEPS)
    moved = np.median(np.linalg.norm(found.positions - guess[spread], axis=-1)) / _radius(guess[spread])
    fits = found.error < FOLLOWED and found.strain < UNSTRETCHED and moved < ELSEWHERE
    return Sheet(members, found.positions) if fits else None


def _radius(positions: np.ndarray) -> float:
    """Of points [K, F, 3], the median over them of how far they are from their middle."""
    return float(np.median(np.linalg.norm(positions - np.median(positions, 0), axis=-1)))


def _spread(apart: np.ndarray, count: int) -> np.ndarray:
    """Indices of about ``count`` of the points that are ``apart`` [N, N], spread over them."""
    if len(apart) <= count:
        return np.arange(len(apart))
    gaps = np.where(np.isfinite(apart), apart, apart[np.isfinite(apart)].max(initial=0))  # not known to be beside it
    chosen = [int(np.isfinite(apart).sum(1).argmax())]
    nearest = gaps[chosen[0]].copy()
    while len(chosen) < count:
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, gaps[chosen[-1]])
    return np.sort(chosen)


def _links(apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs [E, 2] of points that are ``apart`` [N, N] that keep their distance, and which points have any [M]; the
    pairs count among these."""
    ranks = [rank for rank in LINKS if rank < len(apart) - 1]
    others = np.argsort(apart, 1)[:, ranks]
    links = np.stack([np.repeat(np.arange(len(apart)), len(ranks)), others.ravel()], 1)
    links = np.unique(np.sort(links[np.isfinite(apart[links[:, 0], links[:, 1]])], 1), axis=0)
    known, numbers = np.unique(links, return_inverse=True)
    return numbers.reshape(links.shape), known
