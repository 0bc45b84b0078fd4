"""The world ``balls``: rigid bodies that roll without slipping, bounce, and occlude one another."""

from __future__ import annotations

import math

from . import meshes, motions
from .bodies import body
from .room import place, room
from .worlds import World


def balls(seed: int = 0) -> World:
    """Two balls rolling on lines, one on a circle, one bouncing."""
    red = motions.rolling(place(-0.95, -0.55), place(0.1, -0.85), radius=0.45, spin=0.4)
    blue = motions.rolling(place(0.95, 0.75), place(-0.15, 0.85), radius=0.5, spin=1.0)
    yellow = motions.rolling_circle(
        place(-1.25, 0.75), orbit=0.5, begin=math.radians(16), turn=math.radians(118), radius=0.36
    )
    green = motions.bouncing(
        place(1.2, -0.55),
        place(1.15, -0.2),
        radius=0.38,
        height=0.35,
        bounces=1.5,
        axis=(0.6, 0.4, 0.3),
        turn=2.4,
    )
    bodies = [
        body("red ball", meshes.ball(0.45), [(0.8, 0.17, 0.14)], seed, motions.Rigid(red)),
        body("blue ball", meshes.ball(0.5), [(0.16, 0.35, 0.8)], seed, motions.Rigid(blue)),
        body("green ball", meshes.ball(0.38), [(0.2, 0.62, 0.25)], seed, motions.Rigid(green)),
        body("yellow ball", meshes.ball(0.36), [(0.88, 0.72, 0.17)], seed, motions.Rigid(yellow)),
    ]
    return World("balls", (*room(seed), *bodies), center=(0.0, 0.0, 0.4), distance=3.6, seed=seed)
