"""What walls bear: doors, windows and pictures; and rugs."""

from __future__ import annotations

import numpy as np

from .. import meshes
from ..light import Lamp
from .colors import BRIGHTS, FABRICS, METALS, WOODS, grain, pick, weave
from .piece import Piece

DAYLIGHT = (0.85, 0.94, 1.0)


def door(generator: np.random.Generator) -> Piece:
    """A closed door in its frame."""
    x, high, rim = generator.uniform(0.4, 0.48), generator.uniform(1.95, 2.1), 0.07
    shapes = [
        meshes.block([-x, -0.02, 0], [x, 0.0, high], 0),
        meshes.block([-x - rim, -0.04, 0], [-x, 0.0, high], 1),
        meshes.block([x, -0.04, 0], [x + rim, 0.0, high], 1),
        meshes.block([-x - rim, -0.04, high], [x + rim, 0.0, high + rim], 1),
        meshes.ball(0.035, 2, detail=2).moved([x - 0.09, -0.055, 1.0]),
    ]
    shapes += [
        meshes.block([-x + 0.12, -0.03, low], [x - 0.12, -0.02, above], 1)
        for low, above in ((0.15, 0.85), (1.1, high - 0.15))
    ]
    colors = {"leaf": pick(generator, WOODS), "frame": pick(generator, WOODS), "handle": pick(generator, METALS)}
    return Piece("door", colors, meshes.joined(shapes), grain(generator))


def window(generator: np.random.Generator, power: float) -> Piece:
    """A window with panes that shine as bright as the day outside."""
    x, high, rim = generator.uniform(0.4, 0.8), generator.uniform(1.0, 1.3), 0.06
    shapes = [
        meshes.block([-x, -0.02, rim], [x, 0.0, high - rim], 1),
        meshes.block([-x - rim, -0.06, 0], [-x, 0.0, high], 0),
        meshes.block([x, -0.06, 0], [x + rim, 0.0, high], 0),
        meshes.block([-x, -0.06, 0], [x, 0.0, rim], 0),
        meshes.block([-x, -0.06, high - rim], [x, 0.0, high], 0),
        meshes.block([-0.025, -0.05, rim], [0.025, -0.02, high - rim], 0),
    ]
    colors = {"frame": (0.9, 0.9, 0.88), "panes": (0.72, 0.85, 0.95)}
    if generator.random() < 0.4:
        colors["frame"] = pick(generator, WOODS)
    lamp = Lamp((0.0, -0.4, high / 2), power, DAYLIGHT, radius=0.8)
    texture = {"contrast": 0.3, "cell": 0.03}
    return Piece("window", colors, meshes.joined(shapes), texture, {"panes": 0.8}, (lamp,))


def picture(generator: np.random.Generator) -> Piece:
    """A framed picture of colour fields."""
    x, high, rim = generator.uniform(0.2, 0.5), generator.uniform(0.4, 0.8), 0.035
    y, z = generator.uniform(-0.5, 0.5) * x, generator.uniform(0.3, 0.7) * high
    shapes = [
        meshes.block([-x, -0.03, 0], [-x + rim, 0.0, high], 0),
        meshes.block([x - rim, -0.03, 0], [x, 0.0, high], 0),
        meshes.block([-x + rim, -0.03, 0], [x - rim, 0.0, rim], 0),
        meshes.block([-x + rim, -0.03, high - rim], [x - rim, 0.0, high], 0),
        meshes.block([-x + rim, -0.015, rim], [y, 0.0, z], 1),
        meshes.block([y, -0.015, rim], [x - rim, 0.0, z], 2),
        meshes.block([-x + rim, -0.015, z], [x - rim, 0.0, high - rim], 3),
    ]
    colors = {"frame": pick(generator, WOODS + METALS)}
    colors |= {f"field {index}": pick(generator, BRIGHTS + FABRICS) for index in (1, 2, 3)}
    return Piece("picture", colors, meshes.joined(shapes), {"contrast": 0.9, "cell": 0.02})


def rug(generator: np.random.Generator, width: float, depth: float) -> Piece:
    """A rug with a border."""
    x, y, thick, rim = width / 2, depth / 2, 0.012, 0.1
    shapes = [
        meshes.block([-x + rim, -y + rim, 0], [x - rim, y - rim, thick], 0),
        meshes.block([-x, -y, 0], [-x + rim, y, thick], 1),
        meshes.block([x - rim, -y, 0], [x, y, thick], 1),
        meshes.block([-x + rim, -y, 0], [x - rim, -y + rim, thick], 1),
        meshes.block([-x + rim, y - rim, 0], [x - rim, y, thick], 1),
    ]
    colors = {"middle": pick(generator, FABRICS), "border": pick(generator, FABRICS)}
    return Piece("rug", colors, meshes.joined(shapes), weave(generator))
