"""Dense depth of the still world per frame, and the coloured points it is made of."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..scene import Scene
from .evidence import flow_masks
from .flow import pixel_grid
from .triangulate import Epipolar, StillFit, still_fits

# A depth is trusted when one noise of the flow moves it by less than this share.
LARGEST_DEVIATION = 0.1
FLOW_NOISE = 0.3  # pixels
# Two frames agree on a point when its depths differ by less than this share, besides the noise.
AGREEMENT = 0.03


def static_depth(scene: Scene) -> Tensor:
    """Z-depth [T, H, W] of the still world in the training frames, also behind what moves.

    Triangulated from the flow where that is sure; elsewhere from the points that other frames see there; what is
    left is interpolated smoothly in inverse depth. Kept with ``scene`` while it lives.
    """
    depth = getattr(scene, "_static_depth", None)
    if depth is None or len(depth) != len(scene.train):
        trusted = trusted_pixels(scene)
        positions = _pooled(scene, trusted)
        cameras, fits = scene.cameras, still_fits(scene)
        farthest = _farthest(fits, trusted)
        depth = torch.stack(
            [1 / _completed(fits[t], trusted[t], _splat(cameras[t], positions), farthest) for t in range(len(fits))]
        )
        scene._static_depth = depth
    return depth


def trusted_pixels(scene: Scene) -> Tensor:
    """Pixels [T, H, W] bool whose still depth is sure: parallax enough, at rest, and other frames agree.

    Kept with ``scene`` while it lives.
    """
    trusted = getattr(scene, "_trusted", None)
    if trusted is None or len(trusted) != len(scene.train):
        fits, moving = still_fits(scene), flow_masks(scene, posed=True, dilate=2)
        sure = torch.stack([_sure(fit) & ~mask for fit, mask in zip(fits, moving, strict=True)])
        agreed = torch.stack([_agreed(scene, fits, sure, t) for t in range(len(fits))])
        trusted = sure & agreed
        scene._trusted = trusted
    return trusted


def unprojected(scene: Scene, index: int, chosen: Tensor, depth: Tensor) -> Tensor:
    """World points [N, 3] of the pixels ``chosen`` [H, W] of a training frame at z-depth ``depth`` [H, W]."""
    pixels = torch.from_numpy(pixel_grid(*chosen.shape))[chosen]
    return scene.cameras[index].unproject(pixels, depth[chosen])


def _sure(fit: StillFit) -> Tensor:
    """Where one frame's fit is good by itself, [H, W]."""
    known = torch.isfinite(fit.residual)
    square = torch.where(known, fit.residual, 0).square()
    # at least a third of the frames it could be compared with must support the depth
    supported = (known & (fit.residual < 1.0)).sum(0) >= max(1, len(fit.others) // 3)
    spread = (square.clamp_max(4).sum(0) / known.sum(0).clamp_min(1)).sqrt()
    return (
        supported
        & (spread < 1.0)
        & (fit.inverse_depth > 1e-6)
        & (FLOW_NOISE * fit.deviation < LARGEST_DEVIATION * fit.inverse_depth)
    )


def _agreed(scene: Scene, fits: list[StillFit], sure: Tensor, index: int) -> Tensor:
    """Where other frames see the point of a sure pixel at the same depth more often than they see through it."""
    count = len(fits)
    height, width = sure.shape[1:]
    agree = torch.zeros(height, width)
    through = torch.zeros(height, width)
    chosen = sure[index]
    if not chosen.any():
        return chosen
    cameras = scene.cameras
    pixels = torch.from_numpy(pixel_grid(height, width))[chosen]
    rho = fits[index].inverse_depth[chosen]
    step = max(1, count // 16)
    others = [other for other in range(index % step, count, step) if other != index]
    others = sorted({*others, *[o for o in (index - 1, index + 1) if 0 <= o < count]})
    epipolar = Epipolar.between(cameras[index], [cameras[other] for other in others], pixels)
    places, ratio = epipolar.project(rho)
    supports, contradicts = torch.zeros(len(rho)), torch.zeros(len(rho))
    for other, place, depth_ratio in zip(others, places, ratio, strict=True):
        x, y = place.floor().long()
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height) & (depth_ratio > 1e-3)
        x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
        fit = fits[other]
        here = rho / depth_ratio.clamp_min(1e-3)
        tolerance = AGREEMENT * here + 2 * FLOW_NOISE * fit.deviation[y, x]
        counted = inside & sure[other][y, x]
        difference = fit.inverse_depth[y, x] - here
        supports += counted & (difference.abs() < tolerance)
        contradicts += counted & (difference < -tolerance)
    agree[chosen], through[chosen] = supports, contradicts
    return (agree >= 1) & (agree > through)


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
    return (
        float(known.quantile(0.02))
        if 0 < len(known) < 1.5e7
        else float(known[::10].quantile(0.02))
        if len(known)
        else 0.1
    )


def _completed(fit: StillFit, trusted: Tensor, splat: Tensor, farthest: float) -> Tensor:
    """Inverse depth [H, W] everywhere: trusted, else splatted, else interpolated."""
    value = torch.where(trusted, fit.inverse_depth, splat)
    weight = torch.where(trusted, 1.0, 0.3 * (splat > 0))
    filled = interpolated(value.numpy(), weight.numpy(), farthest)
    return torch.from_numpy(filled).clamp_min(1e-6)


def interpolated(value: np.ndarray, weight: np.ndarray, default: float) -> np.ndarray:
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
    coarse = interpolated(total / np.maximum(share, 1e-8), np.minimum(1, share * 4) * (share > 0), default)
    around = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    share = np.clip(weight, 0, 1)
    return (share * value + (1 - share) * around).astype(np.float32)
