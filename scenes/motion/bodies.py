"""Rigid bodies among 2D tracks: which there are, how they move, and what belongs to each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .belonging import merged, regrouped
from .rigid import RigidBody, rigid_body
from .sightings import Sightings
from .templates import rematched

SMALLEST = 6  # tracks of a thing
BENT = 1.5  # pixels of median reprojection error up to which it moves as a body at all
ROUNDS = 5  # of solving the bodies and regrouping the tracks


@dataclass(frozen=True)
class Pictures:
    """T grey pictures [H, W] and their moving pixels ``masks`` [T, H, W]."""

    grays: list[np.ndarray]
    masks: np.ndarray


def find_bodies(
    groups: list[np.ndarray], guesses: list[np.ndarray], views: Sightings, pictures: Pictures, reach: float
) -> list[RigidBody]:
    """The rigid bodies that ``groups`` of tracks start.

    Each is solved from the ``guesses`` of its positions ([N, T, 3] each; :mod:`.rigid`), its points are matched anew
    (:mod:`.templates`), and all tracks asked which body explains them (:mod:`.belonging`), in turn. The first guess and
    ``views`` are overwritten with what is found out: where the points are, and where they are seen.

    Args:
        reach: pixels between neighbouring points of two bodies up to which they may be one.
    """
    positions = guesses[0]
    bodies = _solved(groups, guesses, views)
    _correct(bodies, positions, views, pictures)
    for _ in range(ROUNDS - 1):
        found = regrouped(bodies, views)
        for body in found:
            positions[np.ix_(body.members, body.frames)] = body.positions
        bodies = merged(_solved([body.members for body in found], [positions], views), positions, reach, views)
        _correct(bodies, positions, views, pictures)
    return bodies


def _solved(groups: list[np.ndarray], guesses: list[np.ndarray], views: Sightings) -> list[RigidBody]:
    """Those of the ``groups`` of tracks that are rigid bodies."""
    solved = [rigid_body(group, guesses, views) for group in groups if len(group) >= SMALLEST]
    return [body for body in solved if body is not None and body.error < BENT]


def _correct(bodies: list[RigidBody], positions: np.ndarray, views: Sightings, pictures: Pictures) -> None:
    for body in bodies:
        where = np.ix_(body.members, body.frames)
        views.pixels[where], views.visible[where] = rematched(body, pictures.grays, pictures.masks, views)
        positions[where] = body.positions
