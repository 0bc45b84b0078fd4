"""Where to look from, so that the picture shows what matters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...scenes import Camera, Scene

ABOVE = math.radians(24)  # least elevation over the target: enough to see paths on a floor as such
MARGIN = 1.6  # room around what has to fit: its surroundings tell where it is


def overview(scene: Scene, focus: Tensor, width: int, height: int, fov: float = 45.0) -> Camera:
    """A camera that sees all of ``focus`` [P, 3] from the training cameras' side, slightly above.

    Args:
        fov: horizontal field of view in degrees.
    """
    up = torch.nn.functional.normalize(torch.tensor(scene.up, dtype=torch.float64), dim=0)
    focus = focus.detach().cpu().double()
    low, high = torch.quantile(focus, torch.tensor([0.02, 0.98]).double(), dim=0)
    target = (low + high) / 2
    centers = torch.stack([camera.center for camera in scene.cameras]).double()
    away = centers.mean(0) - target
    level = away - (away @ up) * up
    if level.norm() < 1e-6:  # cameras straight above: any side will do
        level = torch.linalg.cross(up, up.roll(1) + torch.tensor([0.3, 0.1, 0.2]).double())
    elevation = math.atan2((away @ up).item(), level.norm().item())
    elevation = min(max(elevation, ABOVE), math.radians(70))
    level = level / level.norm()
    toward_eye = math.cos(elevation) * level + math.sin(elevation) * up
    distance = _distance(focus, target, toward_eye, up, width / height, math.radians(fov))
    return Camera.look_at(target + distance * toward_eye, target, width, height, fov, up=scene.up)


def _distance(
    focus: Tensor, target: Tensor, toward_eye: Tensor, up: Tensor, aspect: float, fov: float
) -> float:
    """How far the eye has to stand back for the points to be inside the picture; for 3% of them
    only the margin is there, so that a stray point does not make everything small."""
    right = torch.nn.functional.normalize(torch.linalg.cross(up, toward_eye), dim=0)
    upward = torch.linalg.cross(toward_eye, right)
    offset = focus - target
    tangent = math.tan(fov / 2)
    wide = (offset @ right).abs() / tangent
    high = (offset @ upward).abs() * aspect / tangent
    # A point at z toward the eye needs the eye at z + extent / tan(fov / 2).
    needed = (offset @ toward_eye) + MARGIN * torch.maximum(wide, high)
    return max(torch.quantile(needed, 0.97).item(), 1e-3)


def seen_by(scene: Scene, points: Tensor) -> Tensor:
    """Which of ``points`` [P, 3] some training camera has in its picture, [P] bool.

    What no camera saw was never observed; it may be anywhere.
    """
    cameras = scene.cameras
    seen = torch.zeros(len(points), dtype=torch.bool)
    for camera in cameras[:: max(1, len(cameras) // 12)]:
        pixels, depth = camera.project(points)
        inside = (pixels >= 0).all(-1) & (pixels[:, 0] < camera.width)
        seen |= inside & (pixels[:, 1] < camera.height) & (depth > 0)
    return seen
