"""What people sit and lie on: chairs, sofas and beds."""

from __future__ import annotations

import math

import numpy as np

from .. import meshes
from .colors import FABRICS, LINENS, METALS, WOODS, grain, pick, weave
from .piece import Piece


def chair(generator: np.random.Generator) -> Piece:
    """A chair whose back is solid or made of slats."""
    half, seat, high = generator.uniform(0.2, 0.23), 0.45, generator.uniform(0.82, 1.0)
    leg, thick = 0.04, generator.uniform(0.03, 0.07)
    shapes = [meshes.block([-half, -half, seat - thick], [half, half, seat], 0)]
    shapes += [
        meshes.block([a, b, 0], [a + leg, b + leg, seat - thick], 1)
        for a in (-half, half - leg)
        for b in (-half, half - leg)
    ]
    if generator.random() < 0.5:
        shapes.append(meshes.block([-half, half - 0.04, seat], [half, half, high], 0))
    else:
        shapes += [
            meshes.block([a, half - leg, seat], [a + leg, half, high], 1) for a in (-half, half - leg)
        ]
        shapes += [
            meshes.block([-half + leg, half - 0.03, z], [half - leg, half - 0.01, z + 0.08], 0)
            for z in np.arange(seat + 0.12, high - 0.07, 0.14)
        ]
    legs = METALS if generator.random() < 0.4 else WOODS
    seats = FABRICS if generator.random() < 0.5 else WOODS
    colors = {"seat": pick(generator, seats), "legs": pick(generator, legs)}
    return Piece("chair", colors, meshes.joined(shapes), grain(generator))


def sofa(generator: np.random.Generator) -> Piece:
    """A sofa or armchair: base, back, arms, and one to three cushions."""
    seats = generator.integers(1, 4)
    x, y, arm = 0.3 * seats + 0.16, generator.uniform(0.4, 0.45), 0.16
    low, seat, high = 0.26, 0.42, generator.uniform(0.75, 0.9)
    back = y - 0.2
    shapes = [
        meshes.block([-x, -y, 0.06], [x, y, low], 0),
        meshes.block([-x, back, low], [x, y, high], 0),
    ]
    shapes += [
        meshes.block([a, -y, low], [a + arm, back, generator.uniform(0.55, 0.62)], 0) for a in (-x, x - arm)
    ]
    edges = np.linspace(-x + arm, x - arm, seats + 1)
    shapes += [
        meshes.block([left + 0.005, -y, low], [right - 0.005, back, seat], 1)
        for left, right in zip(edges[:-1], edges[1:], strict=True)
    ]
    shapes += [
        meshes.block([a, b, 0], [a + 0.05, b + 0.05, 0.06], 2)
        for a in (-x + 0.03, x - 0.08)
        for b in (-y + 0.03, y - 0.08)
    ]
    fabric = pick(generator, FABRICS)
    cushion = fabric if generator.random() < 0.5 else pick(generator, FABRICS)
    colors = {"frame": fabric, "cushions": cushion, "feet": pick(generator, WOODS)}
    return Piece("sofa", colors, meshes.joined(shapes), weave(generator))


def bed(generator: np.random.Generator) -> Piece:
    """A bed, its long side to the wall: frame, mattress, blanket and pillow."""
    x, y = 1.0, generator.uniform(0.45, 0.53)
    frame, mattress = generator.uniform(0.24, 0.32), generator.uniform(0.44, 0.52)
    cover = mattress + 0.04
    shapes = [
        meshes.block([-x, -y, 0], [x, y, frame], 0),
        meshes.block([-x, -y, frame], [-x + 0.05, y, generator.uniform(0.75, 1.0)], 0),
        meshes.block([-x + 0.05, -y + 0.02, frame], [x - 0.02, y - 0.02, mattress], 1),
        meshes.block([-x + 0.6, -y + 0.02, mattress], [x - 0.02, y - 0.02, cover], 2),
    ]
    pillow = meshes.ellipsoid([0.2, 0.3, 0.08], 3).moved([-x + 0.32, 0, mattress + 0.08])
    shapes.append(pillow)
    colors = {
        "frame": pick(generator, WOODS),
        "mattress": pick(generator, LINENS),
        "blanket": pick(generator, FABRICS),
        "pillow": pick(generator, LINENS),
    }
    shape = meshes.joined(shapes)
    if generator.random() < 0.5:  # the head at the other end
        shape = shape.turned(np.diag([-1.0, 1.0, 1.0]))
        shape.faces = shape.faces[:, ::-1].copy()
    return Piece("bed", colors, shape, weave(generator))


def facing(angle: float, distance: float, height: float = 0.0) -> tuple[tuple[float, float, float], float]:
    """Offset [3] and turn of a chair ``distance`` from the origin that faces it from direction ``angle``."""
    offset = (distance * math.cos(angle), distance * math.sin(angle), height)
    return offset, angle - math.pi / 2
