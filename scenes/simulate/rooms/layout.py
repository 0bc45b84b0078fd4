"""Where things stand in a room, so that nothing touches anything but what carries it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from ..light import Lamp
from ..motions import rotation
from .piece import Group, Member, Piece, Top, bounds

TRIES = 40
GAP = 0.03  # between neighbours, scene units
TOUCH = 1e-6  # boxes that overlap by less only touch


@dataclass(frozen=True)
class Placed:
    """A piece in the room: turned by ``turn`` [3, 3] and put at ``place`` [3]."""

    piece: Piece
    turn: np.ndarray
    place: np.ndarray

    def at(self, points) -> np.ndarray:
        """Where points of the piece at rest [..., 3] are in the room."""
        return np.asarray(points) @ self.turn.T + self.place

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return bounds(self.at(self.piece.shape.vertices))

    def lamps(self) -> list[Lamp]:
        return [replace(lamp, place=tuple(self.at(lamp.place).tolist())) for lamp in self.piece.lamps]

    def tops(self) -> list[Top]:
        corners = [(bounds(self.at([top.lower, top.upper])), top.headroom) for top in self.piece.tops]
        return [Top(tuple(lower), tuple(upper), headroom) for (lower, upper), headroom in corners]


@dataclass
class Layout:
    """A room of ``size`` [3] about the vertical axis, its floor at z = 0, that fills up with things.

    Attributes:
        placed: what is in it.
        taken: boxes (lower [3], upper [3]) that nothing else may reach into.
    """

    size: np.ndarray
    generator: np.random.Generator
    placed: list[Placed] = field(default_factory=list)
    taken: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def put(self, group: Group, turn: float, place, clear: float = 0.0) -> bool:
        """Put a group there if that is free; ``clear`` metres before it are kept free too."""
        things = placed(group, turn, place)
        lower, upper = whole(things)
        front = clear * (rotation([0, 0, 1], turn) @ [0.0, -1.0, 0.0])
        lower, upper = np.minimum(lower, lower + front), np.maximum(upper, upper + front)
        half = np.append(self.size[:2] / 2, np.inf)
        inside = (lower >= -half - TOUCH).all() and (upper <= half + TOUCH).all()
        around = lower - [GAP, GAP, 0], upper + [GAP, GAP, 0]
        if not inside or any(overlap(*around, *other) for other in self.taken):
            return False
        self.placed += things
        self.taken.append((lower, upper))
        return True

    def by_wall(
        self,
        group: Group,
        gap: tuple[float, float] = (0.01, 0.06),
        height: float = 0.0,
        clear: float = 0.0,
    ) -> bool:
        """Put a group with its back to some wall, ``gap`` from it; False where none has room."""
        lower, upper = whole(placed(group, 0.0, (0, 0, 0)))
        for _ in range(TRIES):
            wall = self.generator.integers(4)
            length, depth = (self.size[0], self.size[1]) if wall % 2 == 0 else (self.size[1], self.size[0])
            free = length - (upper - lower)[0]
            if free < 0:
                continue
            along = self.generator.uniform(-length / 2 - lower[0], -length / 2 - lower[0] + free)
            away = depth / 2 - upper[1] - self.generator.uniform(*gap)
            turn = wall * math.pi / 2
            place = rotation([0, 0, 1], turn) @ [along, away, height]
            if self.put(group, turn, place, clear):
                return True
        return False

    def on_top(self, piece: Piece) -> bool:
        """Put a small piece on one of the tops in the room; False where none has room."""
        tops = [top for thing in self.placed for top in thing.tops()]
        for _ in range(TRIES if tops else 0):
            top = tops[self.generator.integers(len(tops))]
            member = Member(piece, angle=self.generator.uniform(0, 2 * math.pi))
            lower, upper = whole(placed((member,), 0.0, (0, 0, 0)))
            first, last = np.array(top.lower)[:2] - lower[:2], np.array(top.upper)[:2] - upper[:2]
            if (first > last).any() or upper[2] > top.headroom:
                continue
            place = np.append(self.generator.uniform(first, last), top.lower[2])
            things = placed((member,), 0.0, place)
            lower, upper = whole(things)
            around = lower - [GAP, GAP, 0], upper + [GAP, GAP, 0]
            if not any(overlap(*around, *other.bounds()) for other in self._small(top)):
                self.placed += things
                return True
        return False

    def _small(self, top: Top) -> list[Placed]:
        """What stands on a top already."""
        return [
            thing
            for thing in self.placed
            if abs(thing.place[2] - top.lower[2]) < TOUCH and thing.place[2] > 0.1
        ]


def placed(group: Group, turn: float, place) -> list[Placed]:
    """The members of a group that is turned by ``turn`` radians and put at ``place`` [3]."""
    spun = rotation([0, 0, 1], turn)
    return [
        Placed(member.piece, spun @ rotation([0, 0, 1], member.angle), spun @ member.offset + np.asarray(place))
        for member in group
    ]


def whole(things: list[Placed]) -> tuple[np.ndarray, np.ndarray]:
    """The box around several things."""
    corners = np.stack([thing.bounds() for thing in things])
    return corners[:, 0].min(0), corners[:, 1].max(0)


def overlap(lower, upper, other_lower, other_upper) -> bool:
    """Whether two boxes share more than their surface."""
    return bool((np.minimum(upper, other_upper) - np.maximum(lower, other_lower) > TOUCH).all())
