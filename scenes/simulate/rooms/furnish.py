"""What a room gets, and in which order: what needs most room first."""

from __future__ import annotations

import math

import numpy as np

from ..bodies import Color
from . import hangings, lamps, seats, small, storage, tables
from .layout import Layout, placed, whole
from .piece import Group, Member, Piece

CLEAR = 0.3  # between what stands in the middle and the way that the camera walks, scene units


def furnish(layout: Layout, radii: np.ndarray, warm: Color) -> None:
    """Fill a room whose camera walks an ellipse with half-axes ``radii`` [2]; lamps shine in colour ``warm``."""
    generator = layout.generator
    power = generator.uniform(2.6, 3.6)
    _ceiling(layout, power, warm)
    layout.by_wall(alone(hangings.door(generator)), (0.0, 0.0), clear=0.4)
    for _ in range(generator.integers(1, 3)):
        layout.by_wall(alone(hangings.window(generator, 0.2 * power)), (0.0, 0.0), generator.uniform(0.95, 1.1), 0.35)
    _middle(layout, radii)

    large = [_desk, _shelf, _cabinet, _bed, _sofa]
    generator.shuffle(large)
    for make in [*large, _shelf, _cabinet, *generator.choice(large, 2)]:
        layout.by_wall(make(generator))
    tall = lamps.standing_lamp(generator, generator.uniform(1.4, 1.7), 0.25 * power, warm)
    layout.by_wall(alone(tall), (0.03, 0.15))
    for _ in range(generator.integers(1, 3)):
        layout.by_wall(alone(small.plant(generator, generator.uniform(0.7, 1.3))), (0.02, 0.1))
    for _ in range(generator.integers(2, 5)):
        layout.by_wall(alone(hangings.picture(generator)), (0.0, 0.0), generator.uniform(1.2, 1.5), 0.25)
    for _ in range(generator.integers(1, 3)):
        layout.by_wall(alone(small.ball(generator, generator.uniform(0.12, 0.22))), (0.05, 0.5))
        layout.by_wall(alone(small.box(generator, generator.uniform(0.25, 0.45))), (0.02, 0.3))
    layout.by_wall(alone(seats.chair(generator)))
    _trinkets(layout, power, warm)


def alone(piece: Piece) -> Group:
    return (Member(piece),)


def _ceiling(layout: Layout, power: float, warm: Color) -> None:
    """One lamp in the middle, or two along the longer side."""
    generator, high = layout.generator, layout.size[2]
    axis = int(layout.size[1] > layout.size[0])
    count = 1 + int(generator.random() < 0.5)
    lamp = lamps.ceiling_lamp(generator, power / count**0.5, warm)
    for index in range(count):
        place = np.array([0.0, 0.0, high])
        place[axis] = (index - (count - 1) / 2) * layout.size[axis] / 2
        layout.put(alone(lamp), 0.0, place)


def _middle(layout: Layout, radii: np.ndarray) -> None:
    """A dining table with chairs, or a low table on a rug, or only a rug, within the camera's way."""
    generator = layout.generator
    makers = [_dining, _coffee, _carpet]
    first = generator.choice(len(makers), p=(0.5, 0.35, 0.15))
    for make in (makers[first], *makers[1:]):
        for _ in range(6):
            group = make(generator)
            turn = generator.integers(4) * math.pi / 2
            standing = [member for member in group if member.piece.label != "rug"]
            lower, upper = whole(placed(standing, turn, (0, 0, 0)))
            reach = np.maximum(-lower, upper)[:2]
            if ((reach / (radii - CLEAR)) ** 2).sum() <= 1 and layout.put(group, turn, (0, 0, 0)):
                return


def _dining(generator: np.random.Generator) -> Group:
    one = seats.chair(generator)
    reach = -whole(placed(alone(one), 0.0, (0, 0, 0)))[0][1]
    if generator.random() < 0.4:
        radius = generator.uniform(0.4, 0.55)
        table = tables.round_table(generator, radius, generator.uniform(0.7, 0.76))
        begin, count = generator.uniform(0, math.pi), generator.integers(2, 5)
        around = [seats.facing(begin + 2 * math.pi * i / count, radius + reach + 0.05) for i in range(count)]
    else:
        width, depth = generator.uniform(0.8, 1.5), generator.uniform(0.65, 0.85)
        table = tables.table(generator, width, depth, generator.uniform(0.7, 0.76))
        side = depth / 2 + reach + generator.uniform(0.03, 0.12)
        places = [-width / 4, width / 4] if width > 1.15 else [0.0]
        seats_taken = [(x, s) for x in places for s in (-1, 1) if generator.random() < 0.85]
        around = [((x, s * side, 0.0), 0.0 if s > 0 else math.pi) for x, s in seats_taken]
    return (Member(table), *(Member(one, offset, angle) for offset, angle in around))


def _coffee(generator: np.random.Generator) -> Group:
    width, depth = generator.uniform(0.6, 0.95), generator.uniform(0.45, 0.6)
    carpet = hangings.rug(generator, width + generator.uniform(0.3, 0.6), depth + generator.uniform(0.3, 0.6))
    height = generator.uniform(0.35, 0.5)
    if generator.random() < 0.4:
        table = tables.round_table(generator, depth / 2, height)
    else:
        table = tables.table(generator, width, depth, height)
    return Member(carpet), Member(table, (0, 0, thickness(carpet)))


def _carpet(generator: np.random.Generator) -> Group:
    carpet = hangings.rug(generator, generator.uniform(0.9, 1.4), generator.uniform(0.8, 1.0))
    ball = small.ball(generator, generator.uniform(0.14, 0.22))
    place = (*generator.uniform(-0.15, 0.15, 2), thickness(carpet))
    return Member(carpet), Member(ball, place)


def thickness(piece: Piece) -> float:
    return float(piece.shape.vertices[:, 2].max())


def _desk(generator: np.random.Generator) -> Group:
    """A desk at the wall and a chair before it."""
    width, depth = generator.uniform(0.9, 1.4), generator.uniform(0.45, 0.55)
    desk, chair = tables.table(generator, width, depth, 0.74), seats.chair(generator)
    reach = -whole(placed(alone(chair), 0.0, (0, 0, 0)))[0][1]
    aside = generator.uniform(-0.5, 0.5) * (width / 2 - 0.25)
    return Member(desk), Member(chair, (aside, -depth / 2 - reach - 0.03, 0.0), math.pi)


def _shelf(generator: np.random.Generator) -> Group:
    return alone(storage.shelf(generator))


def _cabinet(generator: np.random.Generator) -> Group:
    return alone(storage.cabinet(generator))


def _bed(generator: np.random.Generator) -> Group:
    return alone(seats.bed(generator))


def _sofa(generator: np.random.Generator) -> Group:
    return alone(seats.sofa(generator))


def _trinkets(layout: Layout, power: float, warm: Color) -> None:
    """Small things on tables, cabinets and shelves."""
    generator = layout.generator
    layout.on_top(lamps.standing_lamp(generator, generator.uniform(0.4, 0.5), 0.12 * power, warm))
    for _ in range(generator.integers(1, 4)):
        layout.on_top(small.plant(generator, generator.uniform(0.22, 0.4)))
    for _ in range(generator.integers(2, 5)):
        layout.on_top(small.box(generator, generator.uniform(0.12, 0.22)))
    for _ in range(generator.integers(1, 4)):
        layout.on_top(small.ball(generator, generator.uniform(0.06, 0.11)))
