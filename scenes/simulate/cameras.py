"""Where a world is filmed from: a hand-held walk for training, novel views for testing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..camera import Camera

FOV = 55.0  # degrees, horizontal
HEIGHT = 1.75  # of the camera above the floor while walking, scene units
BEGIN, ARC = (
    math.radians(-183),
    math.radians(100),
)  # where the walk round the world starts, and how far it goes
SHAKE = 0.025  # size of the hand's shake, scene units
WAVES = 3  # sines per axis that the shake is made of
STEPS = 8  # steps walked along the arc, some 0.8 scene units each
BOB = 0.02  # by how much a step lifts and lowers the camera, and every second one sways it sideways


class Path(Protocol):
    """Where the cameras that film a world go over normalised time."""

    def camera(self, time: float, width: int, height: int) -> Camera:
        """The training camera at that time."""

    def novel(self, index: int, time: float, width: int, height: int) -> Camera:
        """The ``index``-th held-out camera, beside the path."""


@dataclass(frozen=True)
class Footage:
    """How many frames are filmed for training and testing, and their size in pixels."""

    frames: int = 48
    test: int = 16
    width: int = 240
    height: int = 135


@dataclass(frozen=True)
class Walk:
    """A person with a camera in the hand walking an arc around ``center`` and looking at it.

    Attributes:
        center: what the camera looks at, [3].
        distance: from it, along the floor.
        seed: of the shake.
    """

    center: tuple[float, float, float]
    distance: float
    seed: int = 0

    def camera(self, time: float, width: int, height: int) -> Camera:
        """The camera at normalised time."""
        eye = self._eye(BEGIN + ARC * self._progress(time), self._distance(time), HEIGHT)
        shake = hand_shake(self.seed, time)
        eye += self._gait(time, BEGIN + ARC * self._progress(time))
        return Camera.look_at(eye + shake[0], np.add(self.center, shake[1]), width, height, FOV)

    def novel(self, index: int, time: float, width: int, height: int) -> Camera:
        """The ``index``-th camera beside the walk.

        It stands 8 to 12 degrees round, higher or lower, and a step nearer, and holds the camera as level as the
        walker does: what lies beyond the borders of the training frames is nobody's to know.
        """
        generator = np.random.default_rng([self.seed, 23, index])
        side = math.radians(generator.uniform(8, 12)) * (-1 if index % 2 else 1)
        angle = ARC * self._progress(time)
        if not 0 <= angle + side <= ARC:  # beyond the walk's ends lies what no training frame shows
            side = -side
        up = generator.uniform(0.1, 0.25) * (-1 if index // 2 % 2 else 1)
        nearer = generator.uniform(-0.4, -0.15)
        eye = self._eye(BEGIN + angle + side, self._distance(time) + nearer, HEIGHT + up)
        target = np.add(self.center, generator.uniform(-0.05, 0.05, 3)) + np.array([0, 0, up])
        return Camera.look_at(eye, target, width, height, FOV)

    def _progress(self, time: float) -> float:
        return time + 0.01 * math.sin(4 * math.pi * time)

    def _distance(self, time: float) -> float:
        return self.distance + 0.15 * math.sin(2.5 * math.pi * time)

    def _eye(self, angle: float, distance: float, height: float) -> np.ndarray:
        return np.array(
            [
                self.center[0] + distance * math.cos(angle),
                self.center[1] + distance * math.sin(angle),
                height,
            ]
        )

    def _gait(self, time: float, angle: float) -> np.ndarray:
        """Rise and fall of the camera with every step and its sway with every second, [3]."""
        step = 2 * math.pi * STEPS * time
        sway = BOB * math.sin(step / 2 + 0.7)
        return np.array([sway * math.cos(angle), sway * math.sin(angle), BOB * math.sin(step + 1.9)])


def hand_shake(seed: int, time: float) -> np.ndarray:
    """Offsets of the eye and of what it looks at, [2, 3], while a camera is held in the hand."""
    generator = np.random.default_rng([seed, 11])
    rate = generator.uniform(0.8, 2.4, (2, 3, WAVES))  # periods per video
    phase = generator.uniform(0, 2 * math.pi, (2, 3, WAVES))
    return SHAKE / math.sqrt(WAVES / 2) * np.sin(2 * math.pi * rate * time + phase).sum(-1)


def held_out_times(count: int, frames: int) -> list[float]:
    """``count`` times over the video: in turn that of a training frame and halfway between two."""
    last = max(1, frames - 1)
    times = []
    for index in range(count):
        frame = round((index + 0.5) / count * last)
        between = index % 2 == 1
        times.append((min(frame, last - 1) + 0.5) / last if between else frame / last)
    return times
