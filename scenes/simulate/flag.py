"""The world ``flag``: a cloth-like sheet on a pole, with waves travelling along it."""

from __future__ import annotations

import math

import numpy as np

from . import meshes, motions
from .bodies import body
from .room import RIGHT, place, room
from .worlds import World

WIDTH, HEIGHT, BOTTOM = 1.45, 0.95, 0.85  # of the cloth, and of its lower edge above the floor
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

    The cloth hangs from the pole at x = 0. Waves run towards the free edge and grow on the way; the
    cloth as a whole swings about the pole and sags.
    """
    along, up = rest[:, 0], rest[:, 2]
    free = along / WIDTH
    phase = 2 * math.pi * (along / 0.95 - 1.5 * time) + 0.7 * up
    second = 2 * math.pi * (along / 0.6 - 2.0 * time) - 1.1 * up
    out = free * (0.15 * np.sin(phase) + 0.04 * np.sin(second))
    # Waves take up length: shorten by the mean of half the squared slope so that the cloth does not
    # stretch.
    along = along * (1 - 0.12 * free)
    sag = 0.1 * free**2 * (1 + 0.25 * np.sin(2 * math.pi * 1.25 * time))
    swing = math.radians(9) * math.sin(2 * math.pi * 0.8 * time)
    ahead = math.cos(swing) * RIGHT + math.sin(swing) * np.array([-RIGHT[1], RIGHT[0]])
    across = np.array([-ahead[1], ahead[0]])
    flat = POLE + along[:, None] * ahead + out[:, None] * across
    return np.concatenate([flat, (BOTTOM + up - sag)[:, None]], -1)
