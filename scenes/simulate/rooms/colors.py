"""Colours and textures that things in rooms are made of."""

from __future__ import annotations

import numpy as np

from ..bodies import Color

WOODS = ((0.55, 0.36, 0.2), (0.72, 0.54, 0.34), (0.36, 0.22, 0.14), (0.83, 0.7, 0.5), (0.9, 0.88, 0.84))
FABRICS = (
    (0.3, 0.38, 0.55),
    (0.6, 0.25, 0.22),
    (0.35, 0.45, 0.32),
    (0.68, 0.62, 0.52),
    (0.4, 0.4, 0.42),
    (0.78, 0.56, 0.24),
    (0.5, 0.34, 0.5),
    (0.24, 0.48, 0.5),
)
PAINTS = (
    (0.86, 0.83, 0.76),
    (0.74, 0.8, 0.83),
    (0.8, 0.84, 0.74),
    (0.88, 0.78, 0.7),
    (0.8, 0.76, 0.84),
    (0.9, 0.86, 0.68),
    (0.7, 0.74, 0.76),
)
LINENS = ((0.9, 0.9, 0.88), (0.86, 0.82, 0.74), (0.78, 0.84, 0.9), (0.9, 0.8, 0.8))
METALS = ((0.25, 0.25, 0.27), (0.6, 0.6, 0.62), (0.7, 0.58, 0.32), (0.88, 0.88, 0.88))
BRIGHTS = (
    (0.82, 0.2, 0.16),
    (0.16, 0.38, 0.78),
    (0.2, 0.6, 0.28),
    (0.92, 0.74, 0.16),
    (0.86, 0.44, 0.14),
    (0.55, 0.24, 0.6),
    (0.9, 0.9, 0.88),
    (0.14, 0.56, 0.6),
)
CARDBOARDS = ((0.68, 0.52, 0.34), (0.6, 0.44, 0.28), (0.76, 0.63, 0.46))
GREENS = ((0.2, 0.45, 0.18), (0.32, 0.55, 0.22), (0.16, 0.36, 0.24))
CLAYS = ((0.7, 0.38, 0.24), (0.85, 0.82, 0.78), (0.3, 0.32, 0.36), (0.45, 0.55, 0.62))


def pick(generator: np.random.Generator, palette: tuple[Color, ...]) -> Color:
    """A colour of the palette, a little off."""
    color = np.array(palette[generator.integers(len(palette))]) + generator.normal(0, 0.025, 3)
    return tuple(color.clip(0.04, 0.95).tolist())


def grain(generator: np.random.Generator) -> dict:
    """Texture of wood: boards with their grain."""
    width = generator.uniform(0.08, 0.2)
    return {"tile": (width, width, 0.6), "cell": 0.02, "contrast": generator.uniform(0.4, 0.8), "blotches": 0.2}


def weave(generator: np.random.Generator) -> dict:
    """Texture of cloth: plain, mottled, striped or checked."""
    edge = generator.uniform(0.08, 0.2)
    tile = ((0.0, 0.0, 0.0), (edge, 9.0, 9.0), (edge, edge, edge))[generator.integers(3)]
    blotches = generator.uniform(0.1, 0.8)
    return {"tile": tile, "cell": 0.022, "contrast": generator.uniform(0.35, 0.9), "blotches": blotches}
