"""The camera's walk through a room: round its middle, looking across."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...camera import Camera
from ..cameras import BOB, hand_shake

WAY = 1.25  # how far from the walls it walks, scene units
FOV = 70.0  # degrees, horizontal
EYE, AIM = 1.5, 0.85  # heights of the camera and of what it looks at
SWEEP = math.radians(320)  # how far round it goes
GLANCE = math.radians(22)  # by how much it looks aside of the middle
STEPS = 14


@dataclass(frozen=True)
class Stroll:
    """A person walking an ellipse with half-axes ``radii`` [2] about the origin with a camera in the hand.

    Attributes:
        seed: of where it begins, of its direction and of the hand's shake.
    """

    radii: tuple[float, float]
    seed: int = 0

    def camera(self, time: float, width: int, height: int) -> Camera:
        """The camera at normalised time."""
        angle, aside = self._angles(time)
        shake = hand_shake(self.seed, time)
        step = 2 * math.pi * STEPS * time
        eye = self._spot(angle, 1.0, EYE + BOB * math.sin(step)) + shake[0]
        return Camera.look_at(eye, self._spot(angle + math.pi + aside, 1.2, AIM) + shake[1], width, height, FOV)

    def novel(self, index: int, time: float, width: int, height: int) -> Camera:
        """The ``index``-th camera beside the walk: nearer to the middle, higher or lower, turned a little."""
        generator = np.random.default_rng([self.seed, 23, index])
        angle, aside = self._angles(time)
        nearer = generator.uniform(0.15, 0.3) / min(self.radii)
        up = generator.uniform(0.06, 0.18) * (-1 if index % 2 else 1)
        eye = self._spot(angle, 1.0 - nearer, EYE + up)
        aside += math.radians(generator.uniform(-6, 6))
        return Camera.look_at(eye, self._spot(angle + math.pi + aside, 1.2, AIM), width, height, FOV)

    def _angles(self, time: float) -> tuple[float, float]:
        """Where on the ellipse the walker is, and how far aside they look, radians."""
        generator = np.random.default_rng([self.seed, 17])
        begin, phase = generator.uniform(0, 2 * math.pi, 2)
        way = 1 if generator.random() < 0.5 else -1
        return begin + way * SWEEP * time, GLANCE * math.sin(phase + 5 * math.pi * time)

    def _spot(self, angle: float, share: float, height: float) -> np.ndarray:
        """A place at ``share`` of the way out to the ellipse."""
        return np.array([share * self.radii[0] * math.cos(angle), share * self.radii[1] * math.sin(angle), height])
