"""A piece of furniture at rest, and several that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..bodies import Color
from ..light import Lamp
from ..meshes import Shape


@dataclass(frozen=True)
class Top:
    """A rectangle that small things can stand on.

    Attributes:
        lower, upper: its corners, [3], of one height.
        headroom: how tall a thing may be on it.
    """

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    headroom: float


@dataclass(frozen=True)
class Piece:
    """A thing at rest: it stands on z = 0 (or hangs there) about the origin, its back toward +y.

    Attributes:
        label: its class.
        colors: sRGB colour of each named part, in the order of ``Shape.part``.
        shape: its mesh.
        texture: options of its :class:`~..textures.SolidTexture`.
        glow: light that parts send out, as a multiple of their colour.
        lamps: lights in it.
        tops: where other things can stand on it.
    """

    label: str
    colors: Mapping[str, Color]
    shape: Shape
    texture: Mapping = field(default_factory=dict)
    glow: Mapping[str, float] = field(default_factory=dict)
    lamps: tuple[Lamp, ...] = ()
    tops: tuple[Top, ...] = ()


@dataclass(frozen=True)
class Member:
    """A piece in a group: ``offset`` [3] from the group's origin, turned by ``angle`` radians."""

    piece: Piece
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    angle: float = 0.0


Group = tuple[Member, ...]


def bounds(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner [3] of the box around points [N, 3]."""
    return points.min(0), points.max(0)
