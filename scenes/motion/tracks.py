"""3D trajectories of what moves, from one moving camera: the first guess of a scene's motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..scene import Scene
from .flow import Flows, sample
from .follow import follow
from .lifting import lift_tracks
from .masks import motion_masks

TRACKS = 480  # at most in a frame, about


@dataclass
class Scaffold:
    """Trajectories of M points of moving things.

    Attributes:
        positions: [M, T, 3] in scene units, in every training frame: where a point is hidden, by the motion of those
            around it.
        visible: [M, T] bool, where a point was followed in the video.
        times: [T] of the training frames.
        colors: [M, 3] in 0..1.
        bodies: [M] which body each moves with; -1 for those that move by themselves.
    """

    positions: Tensor
    visible: Tensor
    times: Tensor
    colors: Tensor
    bodies: Tensor


def motion_scaffold(scene: Scene) -> Scaffold | None:
    """The trajectories of what moves in the training frames; None when nothing does. Kept with ``scene``."""
    if len(scene.train) < 3:
        return None
    if not hasattr(scene, "_scaffold"):
        scene._scaffold = _lifted(scene)
    return scene._scaffold


def _lifted(scene: Scene) -> Scaffold | None:
    from threadpoolctl import threadpool_limits

    flows, masks = Flows.of(scene), motion_masks(scene).numpy()
    if not masks.any():
        return None
    area = masks.sum((1, 2)).max()
    spacing = max(3.0, float(np.sqrt(area / TRACKS)))
    tracks = follow(flows, masks, spacing)
    if len(tracks) < 2:
        return None
    # Many small systems: the threads of the linear algebra would only wait for one another.
    with threadpool_limits(1, user_api="blas"):
        positions, visible, bodies, kept = lift_tracks(scene, tracks, masks, spacing)
    frames = scene.split("train")
    colors = torch.stack(
        [
            torch.from_numpy(sample(frames[tracks.seeds[n]].image.numpy(), tracks.pixels[n, tracks.seeds[n]][None])[0])
            for n in kept
        ]
    )
    return Scaffold(positions, visible, torch.tensor(scene.times), colors, bodies)
