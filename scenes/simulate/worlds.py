"""The worlds that come with semaflow."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import numpy as np

from . import meshes, motions
from .body import Body, Color
from .meshes import Shape
from .textures import SolidTexture
from .world import World

RIGHT, AWAY = np.array([1.0, -1.0]) / math.sqrt(2), np.array([1.0, 1.0]) / math.sqrt(2)
WALL, NEAR = (
    2.9,
    -5.5,
)  # the walls stand at x and y = WALL; the floor reaches to NEAR, behind the cameras


def balls(seed: int = 0) -> World:
    """Four balls: three rolling without slipping, on lines and on a circle, one bouncing."""
    return World(
        "balls",
        (
            *_room(seed),
            _body(
                "red ball",
                meshes.ball(0.45),
                [(0.78, 0.16, 0.13)],
                seed,
                motion=motions.Rigid(
                    motions.rolling(_floor(-1.05, -0.45), _floor(0.2, -0.6), 0.45, 0.4)
                ),
            ),
            _body(
                "blue ball",
                meshes.ball(0.5),
                [(0.15, 0.33, 0.78)],
                seed,
                motion=motions.Rigid(
                    motions.rolling(_floor(0.95, 0.75), _floor(-0.2, 0.6), 0.5, 1.0)
                ),
            ),
            _body(
                "green ball",
                meshes.ball(0.36),
                [(0.2, 0.62, 0.24)],
                seed,
                motion=motions.Rigid(
                    motions.bouncing(
                        _floor(1.15, -0.55), _floor(1.05, -0.2), 0.36, 0.5, 2, [0.6, 0.4, 0.3], 2.4
                    )
                ),
            ),
            _body(
                "yellow ball",
                meshes.ball(0.38),
                [(0.86, 0.7, 0.16)],
                seed,
                motion=motions.Rigid(
                    motions.rolling_circle(
                        _floor(-1.05, 1.35), 0.55, math.radians(20), math.radians(130), 0.38
                    )
                ),
            ),
        ),
        center=(0.0, 0.0, 0.6),
        seed=seed,
    )


WORLDS: dict[str, Callable[[int], World]] = {"balls": balls}


def _floor(right: float, away: float) -> np.ndarray:
    """A place on the floor, [2], as seen from the middle of the walk."""
    return right * RIGHT + away * AWAY


def _body(
    name: str,
    shape: Shape,
    colors: list[Color],
    seed: int,
    motion=None,
    label: str | None = None,
    parts: tuple[str, ...] = (),
    looks: str = "",
    pattern: str | None = None,
    cell: float = 0.02,
    tile: float = 0.0,
    contrast: float = 1.0,
) -> Body:
    """A body with its own texture; one without a motion stands still. Bodies of one ``pattern`` share the texture."""
    texture = SolidTexture(
        shape.vertices.min(0),
        shape.vertices.max(0),
        seed=zlib.crc32(f"{seed} {pattern or name}".encode()),
        cell=cell,
        tile=tile,
        contrast=contrast,
    )
    moves = motion is not None
    still = motions.Rigid(motions.gliding((0, 0, 0), (0, 0, 0)))
    return Body(
        name, shape, label or name, tuple(colors), motion or still, moves, texture, parts, looks
    )


def _room(seed: int) -> list[Body]:
    """A floor, two walls and what stands about."""
    span, middle, height = WALL - NEAR, (WALL + NEAR) / 2, 3.4
    floor = meshes.box([span, span, 0.1]).moved([middle, middle, -0.05])
    right = meshes.box([0.1, span, height]).moved([WALL + 0.05, middle, height / 2])
    left = meshes.box([span, 0.1, height]).moved([middle, WALL + 0.05, height / 2])
    column = meshes.cylinder(0.22, 1.5).moved([*_floor(0.0, 2.4), 0.75])
    crate = meshes.box([0.7, 0.7, 0.7]).moved([*_floor(1.9, 1.5), 0.35])
    cone = meshes.cone(0.35, 0.9).moved([*_floor(-1.9, 1.6), 0.0])
    return [
        _body("floor", floor, [(0.56, 0.5, 0.44)], seed, cell=0.03, tile=0.5, contrast=0.8),
        _body(
            "right wall",
            right,
            [(0.62, 0.6, 0.55)],
            seed,
            label="wall",
            cell=0.04,
            tile=0.9,
            contrast=0.7,
        ),
        _body(
            "left wall",
            left,
            [(0.52, 0.6, 0.62)],
            seed,
            label="wall",
            cell=0.04,
            tile=0.9,
            contrast=0.7,
        ),
        _body("column", column, [(0.75, 0.72, 0.66)], seed),
        _body("crate", crate, [(0.6, 0.42, 0.24)], seed, tile=0.18),
        _body("cone", cone, [(0.85, 0.45, 0.16)], seed),
    ]
