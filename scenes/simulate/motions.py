"""How bodies move: functions of normalised time that carry vertices at rest to where they are.

A motion is any callable ``motion(time, shape) -> vertices [V, 3]``. All here are smooth in time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .meshes import Shape

Pose = tuple[np.ndarray, np.ndarray]  # rotation [3, 3] and translation [3], rest to world


@dataclass(frozen=True)
class Rigid:
    """One pose for the whole body: ``pose(time) -> (R [3, 3], t [3])``."""

    pose: Callable[[float], Pose]

    def __call__(self, time: float, shape: Shape) -> np.ndarray:
        rotation, translation = self.pose(time)
        return shape.vertices @ rotation.T + translation


@dataclass(frozen=True)
class Articulated:
    """One pose per link: ``poses(time) -> list of (R, t)``, indexed by ``Shape.link``."""

    poses: Callable[[float], list[Pose]]

    def __call__(self, time: float, shape: Shape) -> np.ndarray:
        poses = self.poses(time)
        rotations = np.stack([rotation for rotation, _ in poses])[shape.link]
        translations = np.stack([translation for _, translation in poses])[shape.link]
        return np.einsum("vij,vj->vi", rotations, shape.vertices) + translations


@dataclass(frozen=True)
class Deforming:
    """Any displacement: ``vertices(time, rest [V, 3]) -> [V, 3]``."""

    vertices: Callable[[float, np.ndarray], np.ndarray]

    def __call__(self, time: float, shape: Shape) -> np.ndarray:
        return self.vertices(time, shape.vertices)


@dataclass(frozen=True)
class Shifted:
    """A motion moved as a whole by ``offset`` [3]."""

    motion: Callable[[float, Shape], np.ndarray]
    offset: tuple[float, float, float]

    def __call__(self, time: float, shape: Shape) -> np.ndarray:
        return self.motion(time, shape) + np.asarray(self.offset, dtype=np.float64)


def still(time: float) -> Pose:
    """Where it was at rest."""
    return np.eye(3), np.zeros(3)


def standing(turn: np.ndarray, place: np.ndarray) -> Callable[[float], Pose]:
    """Turned by ``turn`` [3, 3] and put at ``place`` [3] for good."""
    return lambda time: (turn, place)


def rotation(axis, angle: float) -> np.ndarray:
    """Rotation by ``angle`` radians about ``axis`` [3] (Rodrigues), [3, 3]."""
    axis = np.asarray(axis, dtype=np.float64)
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def eased(time: float) -> float:
    """0 to 1 over time 0 to 1, slower at both ends; the largest speed is 1.25 times the mean."""
    return time - 0.25 * math.sin(2 * math.pi * time) / (2 * math.pi)


def rolling(start, end, radius: float, spin: float = 0.0) -> Callable[[float], Pose]:
    """A ball rolling on z = 0 from ``start`` to ``end`` [2] without slipping.

    The angle turned is the distance over the radius, about the horizontal axis across the path, so
    the point that touches the floor is at rest. ``spin`` is an angle in radians by which the ball
    is turned at rest.
    """
    start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    path = end - start
    length = np.linalg.norm(path)
    axis = np.array([-path[1], path[0], 0.0])
    first = rotation([0, 0, 1], spin)

    def pose(time: float) -> Pose:
        along = eased(time)
        center = np.append(start + along * path, radius)
        return rotation(axis, along * length / radius) @ first, center

    return pose


def rolling_circle(
    center, orbit: float, begin: float, turn: float, radius: float
) -> Callable[[float], Pose]:
    """A ball rolling on z = 0 round a circle about ``center`` [2] without slipping.

    The circle has radius ``orbit``; ``begin`` and ``turn`` are angles on it in radians. In the
    frame that turns with the ball's place on the circle the ball spins about the fixed radial axis,
    at ``-orbit / radius`` times the orbital rate less the frame's own turn.
    """
    center = np.asarray(center, dtype=np.float64)

    def pose(time: float) -> Pose:
        angle = turn * eased(time)
        # Angular velocity wanted: -(orbit/radius) * rate about the radial axis, no component along
        # z. In the turning frame that is a constant vector less rate * z, so the product of two
        # rotations solves it.
        radial = np.array([math.cos(begin), math.sin(begin), 0.0])
        wanted = -orbit / radius * radial - np.array([0.0, 0.0, 1.0])
        own = rotation(wanted, angle * np.linalg.norm(wanted))
        place = begin + angle
        where = np.append(center + orbit * np.array([math.cos(place), math.sin(place)]), radius)
        return rotation([0, 0, 1], angle) @ own, where

    return pose


def bouncing(
    start, end, radius: float, height: float, bounces: float, axis, turn: float
) -> Callable[[float], Pose]:
    """A ball bouncing on z = 0 from ``start`` to ``end`` [2].

    It turns by ``turn`` radians about ``axis``. The arcs are |sin| with the contact rounded off, as
    of a soft ball: smooth, and touching the floor once between two arcs.
    """
    start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    soft = 0.25

    def pose(time: float) -> Pose:
        arc = math.hypot(math.sin(math.pi * bounces * time), soft) - soft
        arc *= height / (math.hypot(1.0, soft) - soft)
        center = np.append(start + eased(time) * (end - start), radius + arc)
        return rotation(axis, turn * time), center

    return pose


def gliding(start, end, turn: float = 0.0) -> Callable[[float], Pose]:
    """From ``start`` to ``end`` [3], turning by ``turn`` radians about the vertical on the way."""
    start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)

    def pose(time: float) -> Pose:
        return rotation([0, 0, 1], turn * eased(time)), start + eased(time) * (end - start)

    return pose
