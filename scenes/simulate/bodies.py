"""A thing in a simulated world: shape, colours, texture, motion and names."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from . import motions
from .meshes import Shape
from .textures import SolidTexture

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Body:
    """A body of a :class:`World`.

    Attributes:
        name: unique in its world; edits go by it.
        shape: its mesh at rest.
        label: class name.
        looks: what a feature teacher takes it for, as a rule the class name; bodies of different
            classes that look alike share it.
        colors: sRGB base colour in 0..1 of each part.
        motion: ``motion(time, shape) -> vertices [V, 3]`` at normalised time (see ``motions``).
        moves: whether it is part of the moving foreground.
        parts: part names; empty for a thing without named parts, whose part id is -1.
        texture: colour pattern at rest.
        glow: light that each part sends out itself, as a multiple of its colour; empty for none.
    """

    name: str
    shape: Shape
    label: str
    looks: str
    colors: tuple[Color, ...]
    motion: Callable[[float, Shape], np.ndarray]
    moves: bool
    texture: SolidTexture
    parts: tuple[str, ...] = ()
    glow: tuple[float, ...] = ()

    def vertices(self, time: float) -> np.ndarray:
        """Where its vertices are at normalised time, float64 [V, 3]."""
        return self.motion(time, self.shape)


def body(
    name: str,
    shape: Shape,
    colors: Sequence[Color],
    seed: int,
    motion: Callable[[float, Shape], np.ndarray] | None = None,
    label: str = "",
    parts: tuple[str, ...] = (),
    looks: str = "",
    pattern: str = "",
    **texture,
) -> Body:
    """A body with a texture of its own, of class ``name`` unless ``label`` says otherwise.

    Without a motion it stands still and counts as background. Bodies of one ``pattern`` are
    textured alike.
    """
    lower, upper = shape.vertices.min(0), shape.vertices.max(0)
    code = zlib.crc32(f"{seed} {pattern or name}".encode())
    return Body(
        name,
        shape,
        label or name,
        looks or label or name,
        tuple(colors),
        motion or motions.Rigid(motions.still),
        motion is not None,
        SolidTexture(lower, upper, code, **texture),
        parts,
    )
