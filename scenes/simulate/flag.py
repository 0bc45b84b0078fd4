"""The world ``flag``: a cloth-like sheet on a pole, with waves travelling along it."""

from __future__ import annotations

import math

import numpy as np

from . import meshes, motions
from .bodies import body
from .room import RIGHT, place, room
from .worlds import World

WIDTH, HEIGHT, BOTTOM = 1.5, 0.95, 0.85  # of the cloth, and of its lower edge above the floor
SEGMENTS = 24  # of the integral along the cloth
POLE = place(-0.7, 0.0)
COLORS = {
    "hoist band": (0.8, 0.2, 0.18),
    "middle band": (0.86, 0.76, 0.3),
    "fly band": (0.18, 0.38, 0.75),
}


def flag(seed: int = 0) -> World:
    """A flag of three bands waving on a pole that stands still."""
    cloth = body(
        "flag",
        meshes.sheet(WIDTH, HEIGHT, columns=60, rows=32, parts=len(COLORS)),
        list(COLORS.values()),
        seed,
        motions.Deforming(_waving),
        parts=tuple(COLORS),
    )
    top = BOTTOM + HEIGHT + 0.12
    pole = meshes.joined(
        [meshes.cylinder(0.045, top).moved([*POLE, top / 2]), meshes.ball(0.09).moved([*POLE, top])]
    )
    stand = meshes.cylinder(0.25, 0.12).moved([*POLE, 0.06])
    bodies = [
        body("pole", pole, [(0.8, 0.78, 0.72)], seed, contrast=0.7),
        body("stand", stand, [(0.4, 0.36, 0.34)], seed, contrast=0.7),
        cloth,
    ]
    return World("flag", (*room(seed), *bodies), center=(0.0, 0.0, 1.1), distance=3.6, seed=seed)


def _waving(time: float, rest: np.ndarray) -> np.ndarray:
    """Where the cloth's points at rest [V, 3] are.

    Waves of direction run from the pole, at x = 0, to the free edge and grow on the way. Points
    lie where the arc of that direction leads, so that the cloth bends without stretching along x.
    The cloth as a whole swings about the pole and sags.
    """
    along, up = rest[:, 0], rest[:, 2]
    # Midpoint rule for the integral of the direction from the pole to each point.
    share = (np.arange(SEGMENTS) + 0.5) / SEGMENTS
    arc, height = along[:, None] * share, up[:, None]
    swell = np.sqrt(arc / WIDTH)
    angle = 0.75 * np.cos(2 * math.pi * (arc / 1.0 - 1.5 * time) + 0.7 * height)
    angle += 0.3 * np.cos(2 * math.pi * (arc / 0.6 - 2.0 * time) - 1.1 * height)
    ahead = along * np.cos(swell * angle).mean(1)
    aside = along * np.sin(swell * angle).mean(1)

    sag = 0.1 * (along / WIDTH) ** 2 * (1 + 0.25 * math.sin(2 * math.pi * 1.25 * time))
    swing = math.radians(9) * math.sin(2 * math.pi * 0.8 * time)
    forward = math.cos(swing) * RIGHT + math.sin(swing) * np.array([-RIGHT[1], RIGHT[0]])
    sideways = np.array([-forward[1], forward[0]])
    flat = POLE + ahead[:, None] * forward + aside[:, None] * sideways
    return np.concatenate([flat, (BOTTOM + up - sag)[:, None]], -1)
