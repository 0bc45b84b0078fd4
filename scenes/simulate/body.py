"""A thing in a simulated world: shape, colours, texture, motion and names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

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
        colors: sRGB base colour in 0..1 of each part.
        motion: ``motion(time, shape) -> vertices [V, 3]`` at normalised time (see ``motions``).
        moves: whether it is part of the moving foreground.
        parts: part names; empty for a thing without named parts, whose part id is -1.
        looks: what a feature teacher takes it for; the class name unless said otherwise. Two bodies
            of different classes that look alike share it.
        texture: colour pattern at rest.
    """

    name: str
    shape: Shape
    label: str
    colors: tuple[Color, ...]
    motion: Callable[[float, Shape], np.ndarray]
    moves: bool
    texture: SolidTexture
    parts: tuple[str, ...] = ()
    looks: str = ""

    def vertices(self, time: float) -> np.ndarray:
        """Where its vertices are at normalised time, float64 [V, 3]."""
        return self.motion(time, self.shape)
