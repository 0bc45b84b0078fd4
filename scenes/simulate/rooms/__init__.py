"""The world ``rooms``: a furnished room for each seed, in which nothing moves but the camera."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from ..bodies import Body, body
from ..cameras import Footage
from ..light import Sky
from ..motions import Rigid, standing
from ..worlds import World
from .classes import CLASSES
from .furnish import furnish
from .layout import Layout, Placed
from .shell import shell
from .stroll import WAY, Stroll

__all__ = ["CLASSES", "rooms"]

FOOTAGE = Footage(frames=30, test=8, width=160, height=120)


def rooms(seed: int = 0) -> World:
    """The furnished room of that seed; every room has the labels :data:`CLASSES`, whatever is in it."""
    generator = np.random.default_rng([seed, 31])
    size = np.array([*generator.uniform(4.6, 6.4, 2), generator.uniform(2.5, 2.8)])
    radii = size[:2] / 2 - WAY
    warm = (1.0, generator.uniform(0.82, 1.0), generator.uniform(0.65, 0.95))
    layout = Layout(size, generator)
    furnish(layout, radii, warm)
    lamps = tuple(lamp for thing in layout.placed for lamp in thing.lamps())
    return World(
        "rooms",
        (*shell(size, seed, generator), *_bodies(layout.placed, seed)),
        seed=seed,
        sky=Sky(sun=0.0, ambient=generator.uniform(0.3, 0.42), lamps=lamps),
        footage=FOOTAGE,
        walk=Stroll(tuple(radii.tolist()), seed),
        labels=list(CLASSES),
    )


def _bodies(things: list[Placed], seed: int) -> list[Body]:
    """Bodies named by their class and a number."""
    seen: Counter[str] = Counter()
    bodies = []
    for thing in things:
        piece = thing.piece
        seen[piece.label] += 1
        made = body(
            f"{piece.label} {seen[piece.label]}",
            piece.shape,
            list(piece.colors.values()),
            seed,
            label=piece.label,
            parts=tuple(piece.colors),
            **piece.texture,
        )
        glow = tuple(piece.glow.get(part, 0.0) for part in piece.colors)
        bodies.append(replace(made, motion=Rigid(standing(thing.turn, thing.place)), glow=glow))
    return bodies
