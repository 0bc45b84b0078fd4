"""The room itself: four walls, a floor and a ceiling."""

from __future__ import annotations

import numpy as np

from .. import meshes
from ..bodies import Body, body
from .colors import FABRICS, PAINTS, WOODS, pick

THICK = 0.1
SIDES = ("north", "west", "south", "east")


def shell(size: np.ndarray, seed: int, generator: np.random.Generator) -> list[Body]:
    """Walls around a room of inner ``size`` [3], one of them perhaps of another colour."""
    x, y, high = size[0] / 2, size[1] / 2, size[2]
    wide, deep = x + THICK, y + THICK
    walls = {
        "north": meshes.block([-wide, y, 0], [wide, deep, high]),
        "west": meshes.block([-wide, -y, 0], [-x, y, high]),
        "south": meshes.block([-wide, -deep, 0], [wide, -y, high]),
        "east": meshes.block([x, -y, 0], [wide, y, high]),
    }
    paint, accent = pick(generator, PAINTS), pick(generator, PAINTS + FABRICS)
    other = SIDES[generator.integers(8) % 4] if generator.random() < 0.5 else ""
    wall = {"label": "wall", "cell": 0.03, "tile": _paper(generator)}
    wall |= {"contrast": generator.uniform(0.2, 0.5), "blotches": generator.uniform(0.0, 0.5)}
    floor = meshes.block([-wide, -deep, -THICK], [wide, deep, 0])
    above = meshes.block([-wide, -deep, high], [wide, deep, high + THICK])
    edge = generator.uniform(0.12, 0.2)
    tile = (edge, 1.2, 1.0) if generator.random() < 0.6 else (0.4, 0.4, 1.0)
    ground = pick(generator, WOODS if generator.random() < 0.7 else PAINTS)
    return [
        *(
            body(f"{side} wall", shape, [accent if side == other else paint], seed, **wall)
            for side, shape in walls.items()
        ),
        body("floor", floor, [ground], seed, cell=0.03, contrast=0.6, blotches=0.2, tile=tile),
        body("ceiling", above, [(0.9, 0.9, 0.88)], seed, cell=0.03, contrast=0.12),
    ]


def _paper(generator: np.random.Generator) -> tuple[float, float, float]:
    """Plain, striped or panelled."""
    edge = generator.uniform(0.2, 0.6)
    return ((0.0, 0.0, 0.0), (edge, edge, 9.0), (edge, edge, edge))[generator.integers(3)]
