"""Small things that stand on the floor or on furniture: balls, boxes and plants."""

from __future__ import annotations

import math

import numpy as np

from .. import meshes
from ..meshes import Shape
from ..motions import rotation
from .colors import BRIGHTS, CARDBOARDS, CLAYS, GREENS, WOODS, pick
from .piece import Piece


def ball(generator: np.random.Generator, radius: float) -> Piece:
    """A ball of one colour, or of two in gores."""
    shape = meshes.ball(radius, detail=3)
    middle = shape.vertices[shape.faces].mean(1)
    angle = np.arctan2(middle[:, 1], middle[:, 0]) + math.pi
    shape.part = (angle / (2 * math.pi) * 6).astype(int) % 2
    tilt = rotation([1, 0, 0], generator.uniform(0, math.pi)) @ rotation([0, 0, 1], generator.uniform(0, math.pi))
    shape = shape.turned(tilt)
    shape = shape.moved([0, 0, -shape.vertices[:, 2].min()])
    first = pick(generator, BRIGHTS)
    colors = {"odd gores": first, "even gores": first if generator.random() < 0.4 else pick(generator, BRIGHTS)}
    texture = {"contrast": generator.uniform(0.1, 0.5), "cell": 0.015}
    return Piece("ball", colors, shape, texture)


def box(generator: np.random.Generator, size: float) -> Piece:
    """A cardboard box with tape, or a coloured one with a lid; about ``size`` wide."""
    x, y, high = size / 2 * generator.uniform(0.8, 1.2, 3)
    high *= 1.5
    if generator.random() < 0.5:
        half, thin = 0.08 * size, 0.003
        shapes = [
            meshes.block([-x, -y, 0], [x, y, high], 0),
            meshes.block([-x, -half, high], [x, half, high + thin], 1),
            meshes.block([-x - thin, -half, 0.5 * high], [-x, half, high], 1),
            meshes.block([x, -half, 0.5 * high], [x + thin, half, high], 1),
        ]
        colors = {"box": pick(generator, CARDBOARDS), "lid": pick(generator, CARDBOARDS)}
    else:
        lid = 0.22 * high
        shapes = [
            meshes.block([-x, -y, 0], [x, y, high - lid], 0),
            meshes.block([-x - 0.01, -y - 0.01, high - lid], [x + 0.01, y + 0.01, high], 1),
        ]
        palette = BRIGHTS if generator.random() < 0.6 else WOODS
        colors = {"box": pick(generator, palette), "lid": pick(generator, palette)}
    texture = {"contrast": generator.uniform(0.2, 0.6), "cell": 0.015}
    return Piece("box", colors, meshes.joined(shapes), texture)


def plant(generator: np.random.Generator, height: float) -> Piece:
    """A plant in a pot: long leaves that fan out, or a crown on a stem."""
    radius, pot = 0.16 * height + 0.03, 0.26 * height
    stem = (0.4 if generator.random() < 0.5 else 0.6) * height
    shapes = [
        meshes.cylinder(radius, pot, 0).moved([0, 0, pot / 2]),
        meshes.cylinder(0.02 * height + 0.004, stem - pot, 1).moved([0, 0, (stem + pot) / 2]),
    ]
    shapes += _leaves(generator, height, stem) if stem < height / 2 else _crown(generator, height, stem)
    greens = pick(generator, GREENS)
    colors = {"pot": pick(generator, CLAYS), "stem": (0.35, 0.26, 0.16), "leaves": greens}
    return Piece("plant", colors, meshes.joined(shapes), {"contrast": 0.7, "cell": 0.018})


def _leaves(generator: np.random.Generator, height: float, stem: float) -> list[Shape]:
    """Thin ellipsoids that start at the top of the stem."""
    shapes, count = [], generator.integers(9, 14)
    for index in range(count):
        length = (height - stem) * generator.uniform(0.75, 1.0)
        leaf = meshes.ellipsoid([0.09 * height, 0.012 * height, length / 2], 2, detail=2)
        leaf = leaf.moved([0, 0, length / 2])
        tilt, around = generator.uniform(0.15, 1.0), 2 * math.pi * index / count
        leaf = leaf.turned(rotation([0, 0, 1], around) @ rotation([1, 0, 0], tilt))
        shapes.append(leaf.moved([0, 0, stem - 0.02 * height]))
    return shapes


def _crown(generator: np.random.Generator, height: float, stem: float) -> list[Shape]:
    """Round bunches of leaves about the end of the stem."""
    size = height - stem
    shapes = [meshes.ball(0.55 * size, 2, detail=2).moved([0, 0, height - 0.55 * size])]
    for index in range(6):
        angle = 2 * math.pi * index / 6
        spot = [0.3 * size * math.cos(angle), 0.3 * size * math.sin(angle)]
        bunch = meshes.ball(size * generator.uniform(0.28, 0.38), 2, detail=2)
        shapes.append(bunch.moved([*spot, stem + size * generator.uniform(0.25, 0.6)]))
    return shapes
