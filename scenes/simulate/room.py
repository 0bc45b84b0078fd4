"""The room that every world stands in, and places in it."""

from __future__ import annotations

import math

import numpy as np

from . import meshes
from .bodies import Body, body

# Seen from the middle of the camera's walk: to the right, and away into the corner of the walls.
RIGHT, AWAY = np.array([1.0, -1.0]) / math.sqrt(2), np.array([1.0, 1.0]) / math.sqrt(2)
FAR, NEAR = (
    2.9,
    -5.5,
)  # the walls stand at x, y = FAR; the floor reaches to NEAR, behind the cameras
WALL_HEIGHT = 4.5


def place(right: float, away: float, height: float | None = None) -> np.ndarray:
    """A place on the floor [2], or at a ``height`` above it [3]."""
    spot = right * RIGHT + away * AWAY
    return spot if height is None else np.append(spot, height)


def room(seed: int) -> list[Body]:
    """A tiled floor, two walls that meet in a corner, a column, two crates and a cone."""
    span, middle = FAR - NEAR, (FAR + NEAR) / 2
    floor = meshes.box([span, span, 0.1]).moved([middle, middle, -0.05])
    right = meshes.box([0.1, span, WALL_HEIGHT]).moved([FAR + 0.05, middle, WALL_HEIGHT / 2])
    left = meshes.box([span, 0.1, WALL_HEIGHT]).moved([middle, FAR + 0.05, WALL_HEIGHT / 2])
    column = meshes.cylinder(0.22, 1.5).moved(place(0.0, 2.4, 0.75))
    crate = meshes.box([0.7, 0.7, 0.7])
    cone = meshes.cone(0.35, 0.9).moved(place(-1.9, 1.6, 0.0))
    wall = {"label": "wall", "cell": 0.03, "tile": 0.7, "contrast": 0.45}
    return [
        body("floor", floor, [(0.6, 0.55, 0.48)], seed, cell=0.03, tile=0.45, contrast=0.5),
        body("right wall", right, [(0.66, 0.6, 0.5)], seed, **wall),
        body("left wall", left, [(0.5, 0.6, 0.64)], seed, **wall),
        body("column", column, [(0.72, 0.7, 0.66)], seed, contrast=0.7),
        body(
            "right crate",
            crate.moved(place(1.9, 1.5, 0.35)),
            [(0.62, 0.44, 0.26)],
            seed,
            label="crate",
            tile=0.175,
            contrast=0.7,
        ),
        body(
            "left crate",
            crate.moved(place(-0.95, 2.7, 0.35)),
            [(0.55, 0.4, 0.28)],
            seed,
            label="crate",
            tile=0.175,
            contrast=0.7,
        ),
        body("cone", cone, [(0.85, 0.45, 0.16)], seed, contrast=0.7),
    ]
