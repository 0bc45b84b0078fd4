"""The first flow field of one or several scenes."""

from __future__ import annotations

import torch
from torch import Tensor

from ...scenes import BadInput, Scene
from .clip import Clip
from .config import FlowConfig
from .field import FlowField
from .targets import Targets


def start_clip(scene: Scene, found: Targets, maps: Tensor, latent: Tensor, seen: Tensor | None = None) -> Clip:
    """The clip of a scene's training video.

    Args:
        found: what its video tells. maps: [T, C, h, w] features of the training frames. latent: [G] of the whole.
        seen: [T] bool, frames whose features may be read; None: all.
    """
    cameras, width, height = scene.cameras, scene.cameras[0].width, scene.cameras[0].height
    if any((camera.width, camera.height) != (width, height) for camera in cameras):
        raise BadInput(f"{scene.name}: expected training frames of one size")
    if len(cameras) < 2:
        raise BadInput(f"{scene.name}: expected a video of at least two frames")
    points, depths = _places(scene, found)
    center = points.median(0).values
    radius = (points - center).abs().amax(-1).quantile(0.9).clamp_min(1e-3)
    near, far = 0.8 * depths.quantile(0.002), 1.1 * depths.quantile(0.998)
    return Clip(
        torch.tensor(scene.times, dtype=torch.float32), torch.stack([camera.viewmat for camera in cameras]),
        torch.stack([camera.K for camera in cameras]), torch.tensor([width, height]),
        maps.permute(0, 2, 3, 1).half(), latent.float(), center, radius, near, far.clamp_min(1.5 * float(near)), seen,
    )


def _places(scene: Scene, found: Targets) -> tuple[Tensor, Tensor]:
    """Some points [P, 3] of the scene and depths [P] at which its training cameras see it."""
    generator = torch.Generator().manual_seed(0)
    if found.depth is not None:
        points, depths = [], []
        for frame, depth in zip(found.frames, found.depth, strict=True):
            camera, known = scene.cameras[frame], depth > 0
            chosen = known.flatten().nonzero()[:, 0]
            chosen = chosen[torch.randint(len(chosen), (500,), generator=generator)] if len(chosen) else chosen
            rows = chosen.div(camera.width, rounding_mode="floor")
            pixels = torch.stack([chosen % camera.width, rows], -1) + 0.5
            z = depth.flatten()[chosen]
            points.append(camera.unproject(pixels, z))
            depths.append(z)
        return torch.cat(points), torch.cat(depths)
    if scene.points is not None:
        points = scene.points.positions
        depths = torch.cat([camera.project(points)[1] for camera in scene.cameras])
        return points, depths[depths > 0]
    extent = scene.extent
    middle = torch.stack([camera.center + 3 * extent * camera.forward for camera in scene.cameras]).mean(0)
    spread = torch.rand(1000, 3, generator=generator) * 2 - 1
    return middle + 2 * extent * spread, torch.tensor([0.5 * extent, 6 * extent])


def start_field(clips: dict[str, Clip], names: list[str], config: FlowConfig) -> FlowField:
    """A fresh field; the same for the same seed."""
    torch.manual_seed(config.seed)
    return FlowField(config, clips, names)
