"""Dense depth of the still world per frame, and the coloured points it is made of."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..scene import Scene
from .flow import pixel_grid
from .triangulate import StillFit, still_fits
from .trust import trust


def static_depth(scene: Scene) -> Tensor:
    """Z-depth [T, H, W] of the still world in the training frames, also behind what moves.

    Triangulated from the flow where that is sure; elsewhere from the points that other frames see there; what is
    left is interpolated smoothly in inverse depth. Kept with ``scene`` while it lives.
    """
    depth = getattr(scene, "_static_depth", None)
    if depth is None or len(depth) != len(scene.train):
        trusted = trust(scene).trusted
        positions = _pooled(scene, trust(scene).solid)
        cameras, fits = scene.cameras, still_fits(scene)
        farthest = _farthest(fits, trusted)
        depth = torch.stack(
            [1 / _completed(fits[t], trusted[t], _splat(cameras[t], positions), farthest) for t in range(len(fits))]
        )
        scene._static_depth = depth
    return depth


def unprojected(scene: Scene, index: int, chosen: Tensor, depth: Tensor) -> Tensor:
    """World points [N, 3] of the pixels ``chosen`` [H, W] of a training frame at z-depth ``depth`` [H, W]."""
    pixels = torch.from_numpy(pixel_grid(*chosen.shape))[chosen]
    return scene.cameras[index].unproject(pixels, depth[chosen])


def _pooled(scene: Scene, trusted: Tensor) -> Tensor:
    """Points [P, 3] of trusted pixels of all frames, at most some 400 000."""
    fits = still_fits(scene)
    share = min(1.0, 4e5 / max(1, int(trusted.sum())))
    generator = torch.Generator().manual_seed(0)
    points = [
        unprojected(
            scene,
            t,
            chosen & (torch.rand(chosen.shape, generator=generator) < share),
            1 / fits[t].inverse_depth,
        )
        for t, chosen in enumerate(trusted)
    ]
    if scene.points is not None:
        still = scene.points.positions
        if scene.points.times is not None:
            still = still[scene.points.times.isnan()]
        points.append(still)
    return torch.cat(points)


def _splat(camera, positions: Tensor) -> Tensor:
    """Inverse depth [H, W] of the nearest point in each pixel of ``camera``, 0 where there is none."""
    height, width = camera.height, camera.width
    pixels, depth = camera.project(positions)
    x, y = pixels.floor().long().unbind(-1)
    inside = (depth > 1e-6) & (x >= 0) & (y >= 0) & (x < width) & (y < height)
    image = torch.zeros(height * width)
    image.scatter_reduce_(0, (y * width + x)[inside], 1 / depth[inside], "amax")
    return image.reshape(height, width)


def _farthest(fits: list[StillFit], trusted: Tensor) -> float:
    """Inverse depth of what nothing is known of: farther than nearly all that is known."""
    known = torch.cat([fit.inverse_depth[mask] for fit, mask in zip(fits, trusted, strict=True)])
    if not len(known):
        return 0.1
    every = 1 + len(known) // 1_000_000  # quantile takes no more than some millions
    return float(known[::every].quantile(0.02))


def _completed(fit: StillFit, trusted: Tensor, splat: Tensor, farthest: float) -> Tensor:
    """Inverse depth [H, W] everywhere: trusted, else splatted, else interpolated."""
    value = torch.where(trusted, fit.inverse_depth, splat)
    weight = torch.where(trusted, 1.0, 0.3 * (splat > 0))
    filled = _interpolated(value.numpy(), weight.numpy(), farthest)
    return torch.from_numpy(filled).clamp_min(1e-6)


def _interpolated(value: np.ndarray, weight: np.ndarray, default: float) -> np.ndarray:
    """Fill ``value`` [H, W] where ``weight`` is 0 from around, coarse to fine (pull-push).

    Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.3.
    """
    import cv2

    height, width = value.shape
    if min(height, width) <= 2:
        mean = (value * weight).sum() / weight.sum() if weight.sum() > 0 else default
        return np.where(weight > 0, value, mean).astype(np.float32)
    half = ((width + 1) // 2, (height + 1) // 2)
    total = cv2.resize((value * weight).astype(np.float32), half, interpolation=cv2.INTER_AREA)
    share = cv2.resize(weight.astype(np.float32), half, interpolation=cv2.INTER_AREA)
    coarse = _interpolated(total / np.maximum(share, 1e-8), np.minimum(1, share * 4) * (share > 0), default)
    around = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    share = np.clip(weight, 0, 1)
    return (share * value + (1 - share) * around).astype(np.float32)
