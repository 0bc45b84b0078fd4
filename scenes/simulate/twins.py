"""The world ``twins``: two things alike in all but motion, and of different classes for it."""

from __future__ import annotations

import math

from . import meshes, motions
from .bodies import body
from .meshes import Shape
from .room import place, room
from .worlds import World

EDGE = 0.8


def twins(seed: int = 0) -> World:
    """Two cubes of one shape, colour and texture: one glides and turns, the other stands still.

    A teacher sees a cube in both, so that only motion tells them apart.
    """
    cube: Shape = meshes.rounded_cube(EDGE)
    alike = {"looks": "cube", "pattern": "cube", "tile": 0.2}
    color = [(0.62, 0.3, 0.62)]
    glide = motions.gliding(
        place(-0.85, -0.2, EDGE / 2), place(0.15, -0.55, EDGE / 2), turn=math.radians(80)
    )
    rest = motions.gliding(place(0.75, 0.55, EDGE / 2), place(0.75, 0.55, EDGE / 2))
    bodies = [
        body("moving cube", cube, color, seed, motions.Rigid(glide), **alike),
        body("resting cube", cube, color, seed, motions.Rigid(rest), **alike),
    ]
    return World("twins", (*room(seed), *bodies), center=(0.0, 0.0, 0.55), distance=3.6, seed=seed)
