"""What lights a simulated world: a sky with its sun, and lamps."""

from __future__ import annotations

from dataclasses import dataclass

from .bodies import Color


@dataclass(frozen=True)
class Lamp:
    """A small round light with hard shadows.

    Attributes:
        place: where it is, [3].
        power: linear brightness of a white surface facing it from far off, times the square of the distance.
        color: of its light, linear.
        radius: scene units; nearer than about this its light grows no further.
    """

    place: tuple[float, float, float]
    power: float
    color: Color = (1.0, 1.0, 1.0)
    radius: float = 0.5


@dataclass(frozen=True)
class Sky:
    """Light of a world: a sun with hard shadows and an even glow from above.

    Attributes:
        toward_sun: direction to the sun, any length.
        sun, ambient: linear brightness of a white surface facing the sun, and of one facing up in
            the shade.
        color: linear colour seen where there is no body.
        lamps: further lights.
    """

    toward_sun: tuple[float, float, float] = (-0.95, -0.25, 1.5)
    sun: float = 0.75
    ambient: float = 0.36
    color: Color = (0.55, 0.68, 0.85)
    lamps: tuple[Lamp, ...] = ()
