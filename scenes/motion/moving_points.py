"""Initial points on what moves, by the tracks that were lifted from it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..scene import PointCloud, Scene
from .contact import resting_depth
from .depth import static_depth, unprojected
from .flow import pixel_grid
from .masks import motion_masks
from .tracks import motion_scaffold

NEAREST = 6  # tracks that tell the depth of a moving pixel
REACH = 1.5  # times the distance between tracks that a pixel may be from one and be told by them


def moving_points(scene: Scene, moving: Tensor, count: int) -> PointCloud:
    """About ``count`` coloured points with times on the pixels ``moving`` [T, H, W] bool of the training frames.

    Near the lifted tracks, at their depth; without any tracks, at the depth of what the pixels stand on.
    """
    frames, depth = scene.split("train"), moving_depth(scene, moving)
    generator = torch.Generator().manual_seed(2)
    share = min(1.0, count / max(1, int((depth > 0).sum())))
    positions, colors, times = [], [], []
    for t, frame in enumerate(frames):
        chosen = (depth[t] > 0) & (torch.rand(moving[t].shape, generator=generator) < share)
        positions.append(unprojected(scene, t, chosen, depth[t]))
        colors.append(frame.image[chosen])
        times.append(torch.full((int(chosen.sum()),), frame.time))
    return PointCloud(torch.cat(positions), torch.cat(colors), torch.cat(times))


def near_tracks(scene: Scene) -> Tensor:
    """Pixels [T, H, W] bool near lifted tracks. What is followed there moves, even in frames in which it happens to
    move as something at rest elsewhere would."""
    import cv2

    near, lifted = torch.zeros(motion_masks(scene).shape, dtype=torch.bool), motion_scaffold(scene)
    if lifted is None:
        return near
    height, width = near.shape[1:]
    for t, camera in enumerate(scene.cameras):
        places, depth = camera.project(lifted.positions[lifted.visible[:, t], t])
        spots = places[depth > 0].floor().long().clamp_min(0)
        if len(spots) < 2:
            continue
        empty = torch.ones(height, width, dtype=torch.uint8)
        empty[spots[:, 1].clamp_max(height - 1), spots[:, 0].clamp_max(width - 1)] = 0
        away = torch.from_numpy(cv2.distanceTransform(empty.numpy(), cv2.DIST_L2, 5))
        near[t] = away < _spacing(places)
    return near


def moving_depth(scene: Scene, moving: Tensor) -> Tensor:
    """Z-depth [T, H, W] of moving pixels near lifted tracks, 0 elsewhere; where nothing could be lifted, of what they
    stand on.

    A plane of inverse depth through the nearest tracks, which is exact for flat surfaces and does not bulge where a
    round one turns away. Pixels without a track near, as those of a shadow, belong to nothing that is known to move.
    """
    still, lifted = static_depth(scene), motion_scaffold(scene)
    out = torch.zeros(moving.shape)
    for t, camera in enumerate(scene.cameras):
        chosen = moving[t]
        if lifted is None:
            out[t] = torch.from_numpy(resting_depth(chosen.numpy(), still[t].numpy(), camera, scene.up))
            continue
        places, depth = camera.project(lifted.positions[lifted.visible[:, t], t])
        if len(places) < NEAREST:
            continue
        spacing = _spacing(places)
        pixels = torch.from_numpy(pixel_grid(*chosen.shape))[chosen]
        apart, near = torch.cdist(pixels, places).topk(NEAREST, largest=False)
        inverse = _plane(pixels, places[near], 1 / depth[near].clamp_min(1e-6), apart, spacing)
        known = apart[:, 0] < REACH * spacing
        out[t][chosen] = torch.where(known, 1 / inverse, torch.zeros_like(inverse))
    return out


def _plane(pixels: Tensor, places: Tensor, values: Tensor, apart: Tensor, spacing: Tensor) -> Tensor:
    """Values [P] at ``pixels`` [P, 2] of the planes fitted to ``values`` [P, K] at ``places`` [P, K, 2], the nearer
    counting more; never outside their range by more than half of it."""
    weight = 1 / (apart / spacing + 0.3).square()
    design = torch.cat([torch.ones_like(values)[..., None], (places - pixels[:, None]) / spacing], -1)
    weighted = (weight[..., None] * design).mT
    ridge = torch.diag(torch.tensor([1e-6, 0.3, 0.3]))
    fitted = torch.linalg.solve(weighted @ design + ridge, weighted @ values[..., None])[:, 0, 0]
    low, high = values.min(1).values, values.max(1).values
    slack = 0.5 * (high - low)
    return torch.minimum(torch.maximum(fitted, low - slack), high + slack)


def _spacing(places: Tensor) -> Tensor:
    """Median distance of ``places`` [N, 2] from the nearest other."""
    return torch.cdist(places, places).topk(2, largest=False).values[:, 1].median()
