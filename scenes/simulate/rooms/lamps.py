"""Lamps: on the ceiling, on the floor and on tables."""

from __future__ import annotations

import numpy as np

from .. import meshes
from ..bodies import Color
from ..light import Lamp
from .colors import LINENS, METALS, pick
from .piece import Piece

GLOW = 0.7


def ceiling_lamp(generator: np.random.Generator, power: float, color: Color) -> Piece:
    """A lamp that hangs from z = 0 on a rod, or sits flat below it."""
    flat = generator.random() < 0.5
    drop = 0.0 if flat else generator.uniform(0.25, 0.45)
    radius, tall = generator.uniform(0.16, 0.26), 0.08 if flat else generator.uniform(0.14, 0.22)
    shapes = [meshes.cylinder(radius, tall, 1).moved([0, 0, -drop - tall / 2])]
    if drop:
        shapes.append(meshes.cylinder(0.012, drop, 0).moved([0, 0, -drop / 2]))
    else:
        shapes.append(meshes.cylinder(radius + 0.02, 0.02, 0).moved([0, 0, -0.01]))
        shapes[0] = shapes[0].moved([0, 0, -0.02])
    lamp = Lamp((0.0, 0.0, -drop - tall - 0.1), power, color)
    return _lamp(generator, shapes, lamp)


def standing_lamp(generator: np.random.Generator, height: float, power: float, color: Color) -> Piece:
    """A foot, a pole and a shade that glows; ``height`` of the whole."""
    small = height < 1.0
    shade, radius = (0.2, generator.uniform(0.1, 0.14)) if small else (0.3, generator.uniform(0.16, 0.2))
    foot = 0.025
    pole = height - shade - foot
    shapes = [
        meshes.cylinder(0.7 * radius, foot, 0).moved([0, 0, foot / 2]),
        meshes.cylinder(0.02, pole, 0).moved([0, 0, foot + pole / 2]),
        meshes.cylinder(radius, shade, 1).moved([0, 0, height - shade / 2]),
    ]
    lamp = Lamp((0.0, -0.06, height - shade - 0.06), power, color, radius=0.4)
    return _lamp(generator, shapes, lamp)


def _lamp(generator: np.random.Generator, shapes: list, lamp: Lamp) -> Piece:
    colors = {"foot": pick(generator, METALS), "shade": pick(generator, LINENS)}
    texture = {"contrast": 0.25, "cell": 0.015}
    return Piece("lamp", colors, meshes.joined(shapes), texture, {"shade": GLOW}, (lamp,))
