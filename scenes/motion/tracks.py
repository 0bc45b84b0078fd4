"""3D trajectories of what moves, from one moving camera: the first guess of a scene's motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..scene import Scene
from .contact import resting_depth
from .depth import static_depth
from .flow import Flows, sample
from .follow import Tracks2D, follow
from .masks import motion_masks


@dataclass
class Scaffold:
    """Trajectories of M points of moving things.

    Attributes:
        positions: [M, T, 3] in scene units, in every training frame: where a point is hidden, by the motion of those
            around it.
        visible: [M, T] bool, where a point was followed in the video.
        times: [T] of the training frames.
        colors: [M, 3] in 0..1.
    """

    positions: Tensor
    visible: Tensor
    times: Tensor
    colors: Tensor


def motion_scaffold(scene: Scene) -> Scaffold | None:
    """The trajectories of what moves in the training frames; None when nothing does."""
    if len(scene.train) < 3:
        return None
    flows, masks = Flows.of(scene), motion_masks(scene).numpy()
    if not masks.any():
        return None
    area = masks.sum((1, 2)).max()
    tracks = follow(flows, masks, spacing=max(3.0, float(np.sqrt(area / 150))))
    if len(tracks) < 2:
        return None
    positions, _, visible = lift_tracks(scene, tracks, masks)
    frames = scene.split("train")
    colors = torch.stack(
        [
            torch.from_numpy(sample(frames[t].image.numpy(), tracks.pixels[n, t][None])[0])
            for n, t in enumerate(tracks.seeds)
        ]
    )
    return Scaffold(positions, visible, torch.tensor(scene.times), colors)


def lift_tracks(scene: Scene, tracks: Tracks2D, masks: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Positions [N, T, 3], weights [N, T] and visibility [N, T] of 2D tracks in space."""
    cameras, still = scene.cameras, static_depth(scene).numpy()
    count, steps = tracks.visible.shape
    positions = torch.full((count, steps, 3), torch.nan)
    for t in range(steps):
        depth = resting_depth(masks[t], still[t], cameras[t], scene.up)
        seen = tracks.visible[:, t]
        pixels = tracks.pixels[seen, t]
        at = np.clip(pixels.astype(int), 0, [masks.shape[2] - 1, masks.shape[1] - 1])
        positions[torch.from_numpy(seen), t] = cameras[t].unproject(
            torch.from_numpy(pixels), torch.from_numpy(depth[at[:, 1], at[:, 0]])
        )
    visible = torch.from_numpy(tracks.visible)
    return _held(positions, visible), visible.float(), visible


def _held(positions: Tensor, visible: Tensor) -> Tensor:
    """Trajectories without gaps: where a point is hidden it stays where it was seen last or will be first."""
    steps = torch.arange(visible.shape[1])
    nearest = (steps[None, :, None] - steps[None, None, :]).abs() + 10_000 * ~visible[:, None, :]
    source = nearest.argmin(-1)
    return positions.gather(1, source[..., None].expand(-1, -1, 3))
