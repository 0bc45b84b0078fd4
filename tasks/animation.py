"""A field as moving points and lines, for programs that know no Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..scenes import BadInput, Scene
from .view.layers import Curves, Layers, Points

MOVING = 0.005  # share of the scene's size beyond which a Gaussian counts as moving
OPACITY = 0.1  # fainter Gaussians are left out of point clouds


@dataclass
class Animation:
    """A field as points that move and lines that show where, for GLB and USD.

    Attributes:
        still: points that never move noticeably.
        moving: the others at the first of ``times``; ``paths`` [M, T, 3] where they go.
        times: [T] in seconds from 0; ``frame_rate`` per second.
        curves: trajectories by object name.
        upright: rotation [3, 3] that turns the scene's up direction into +y.
        size: of the scene, scene units.
    """

    still: Points
    moving: Points
    paths: Tensor
    times: Tensor
    frame_rate: float
    curves: dict[str, Curves]
    upright: Tensor
    size: float

    @classmethod
    def of(cls, layers: Layers, only: Tensor | None = None) -> Animation:
        """The field of ``layers`` over its training times; of the Gaussians ``only`` [N] or all."""
        scene = layers.scene
        points = layers.points(scene.times[0], opacity=OPACITY)
        if only is not None:
            points = points.subset(only[points.ids])
        if len(points.ids) == 0:
            raise BadInput(f"nothing to export: no Gaussian is as opaque as {OPACITY}")
        paths = layers.paths()[points.ids]
        low, high = points.positions.amin(0), points.positions.amax(0)
        size = max((high - low).norm().item(), 1e-6)
        moves = (paths - paths[:, :1]).norm(dim=-1).amax(1) > MOVING * size
        several = len(scene.times) > 1
        curves = {
            name: layers.curves(name, scene.times[-1]) for name in layers.selections if several
        }
        seconds = (len(scene.times) - 1) / scene.frame_rate
        return cls(
            still=points.subset(~moves),
            moving=points.subset(moves),
            paths=paths[moves],
            times=(layers.times - layers.times[0]) * seconds,
            frame_rate=scene.frame_rate,
            curves=curves,
            upright=upright(scene),
            size=size,
        )


def upright(scene: Scene) -> Tensor:
    """Rotation [3, 3] to the axes of glTF and USD: +y up, the cameras on the side of +z."""
    up = torch.nn.functional.normalize(torch.tensor(scene.up), dim=0)
    back = -torch.stack([camera.forward for camera in scene.cameras]).mean(0)
    back = back - (back @ up) * up
    if back.norm() < 1e-4:  # the cameras look along the up direction
        back = torch.linalg.cross(up, torch.eye(3)[int(up.abs().argmin())])
    back = back / back.norm()
    return torch.stack([torch.linalg.cross(up, back), up, back])


def linear(colors: Tensor) -> Tensor:
    """sRGB colours in 0..1 as linear light, which glTF and USD ask for (IEC 61966-2-1)."""
    return torch.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
