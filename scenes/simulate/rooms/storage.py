"""Shelves with books, and cabinets."""

from __future__ import annotations

import numpy as np

from .. import meshes
from .colors import BRIGHTS, FABRICS, METALS, WOODS, grain, pick
from .piece import Piece, Top

BOARD = 0.025
BOOKS = ("red books", "blue books", "other books")


def shelf(generator: np.random.Generator) -> Piece:
    """A shelf; some compartments hold books, others are left for other things."""
    x, y = generator.uniform(0.35, 0.6), generator.uniform(0.14, 0.18)
    levels = generator.integers(2, 6)
    step = generator.uniform(0.32, 0.38)
    high = levels * step + 0.05 + BOARD
    shapes = [meshes.block([a, -y, 0], [a + BOARD, y, high], 0) for a in (-x, x - BOARD)]
    inner, back = x - BOARD, y - 0.012
    shapes.append(meshes.block([-inner, back, 0], [inner, y, high], 0))
    tops = [Top((-inner, -y, high), (inner, y, high), 0.5)] if high < 1.5 else []
    for level in range(levels + 1):
        floor = 0.05 + level * step
        shapes.append(meshes.block([-inner, -y, floor], [inner, back, floor + BOARD], 0))
        if level == levels:
            break
        floor += BOARD
        filled = generator.uniform(0.3, 1.0) if generator.random() < 0.7 else 0.0
        place, end = -inner + 0.01, -inner + 0.01 + filled * (2 * inner - 0.03)
        while place + 0.05 < end:
            thick, tall = generator.uniform(0.03, 0.09), generator.uniform(0.5, 0.85) * (step - BOARD)
            deep = -y + generator.uniform(0.02, 0.06)
            book = meshes.block([place, deep, floor], [place + thick, back - 0.01, floor + tall])
            book.part[:] = 1 + generator.integers(len(BOOKS))
            shapes.append(book)
            place += thick + 0.002
        if place < inner - 0.25:
            tops.append(Top((place + 0.02, -y, floor), (inner - 0.02, back, floor), step - BOARD - 0.03))
    colors = {"frame": pick(generator, WOODS)} | {name: pick(generator, BRIGHTS + FABRICS) for name in BOOKS}
    return Piece("shelf", colors, meshes.joined(shapes), grain(generator), tops=tuple(tops))


def cabinet(generator: np.random.Generator) -> Piece:
    """A low sideboard with things on it, a chest of drawers or a wardrobe."""
    low = generator.random() < 0.65
    x = generator.uniform(0.4, 0.8) if low else generator.uniform(0.4, 0.6)
    y = generator.uniform(0.2, 0.25) if low else generator.uniform(0.25, 0.29)
    high = generator.uniform(0.6, 0.95) if low else generator.uniform(1.7, 2.05)
    front = -y + 0.02
    shapes = [meshes.block([-x, front, 0.0], [x, y, high], 0)]
    columns = max(2, round(2 * x / 0.5))
    rows = generator.integers(2, 4) if low and generator.random() < 0.5 else 1
    across, up = np.linspace(-x, x, columns + 1), np.linspace(0.06, high, rows + 1)
    for left, right in zip(across[:-1], across[1:], strict=True):
        for bottom, above in zip(up[:-1], up[1:], strict=True):
            shapes.append(meshes.block([left + 0.01, -y, bottom + 0.01], [right - 0.01, front, above - 0.01], 1))
            middle = [(left + right) / 2, -y - 0.012, (bottom + above) / 2]
            shapes.append(meshes.box([0.1 if rows > 1 else 0.02, 0.024, 0.02 if rows > 1 else 0.1], 2).moved(middle))
    wood = pick(generator, WOODS)
    doors = wood if generator.random() < 0.4 else pick(generator, WOODS + FABRICS)
    colors = {"case": wood, "doors": doors, "handles": pick(generator, METALS)}
    tops = (Top((-x + 0.03, -y + 0.05, high), (x - 0.03, y - 0.03, high), 0.6),) if low else ()
    return Piece("cabinet", colors, meshes.joined(shapes), grain(generator), tops=tops)
