"""Tables: for meals, for coffee, and desks."""

from __future__ import annotations

import numpy as np

from .. import meshes
from .colors import METALS, WOODS, grain, pick
from .piece import Piece, Top

MARGIN = 0.04  # of a top that things keep away from its edge


def table(generator: np.random.Generator, width: float, depth: float, height: float) -> Piece:
    """A table with four legs or with two panels."""
    thick = generator.uniform(0.03, 0.05)
    x, y = width / 2, depth / 2
    shapes = [meshes.block([-x, -y, height - thick], [x, y, height], 0)]
    below = height - thick
    if generator.random() < 0.7:
        leg = generator.uniform(0.04, 0.07)
        shapes += [
            meshes.block([a, b, 0], [a + leg, b + leg, below], 1)
            for a in (-x, x - leg)
            for b in (-y, y - leg)
        ]
    else:
        shapes += [meshes.block([a, -y, 0], [a + 0.04, y, below], 1) for a in (-x + 0.06, x - 0.1)]
    top = Top((-x + MARGIN, -y + MARGIN, height), (x - MARGIN, y - MARGIN, height), 0.6)
    return Piece("table", _colors(generator), meshes.joined(shapes), grain(generator), tops=(top,))


def round_table(generator: np.random.Generator, radius: float, height: float) -> Piece:
    """A round table on one foot."""
    thick, foot = 0.04, 0.03
    shapes = [
        meshes.cylinder(radius, thick, 0).moved([0, 0, height - thick / 2]),
        meshes.cylinder(0.05, height - thick - foot, 1).moved([0, 0, (height - thick + foot) / 2]),
        meshes.cylinder(0.55 * radius, foot, 1).moved([0, 0, foot / 2]),
    ]
    inner = radius / 2**0.5 - MARGIN
    top = Top((-inner, -inner, height), (inner, inner, height), 0.6)
    return Piece("table", _colors(generator), meshes.joined(shapes), grain(generator), tops=(top,))


def _colors(generator: np.random.Generator) -> dict:
    wood = pick(generator, WOODS)
    return {"top": wood, "legs": wood if generator.random() < 0.5 else pick(generator, METALS)}
