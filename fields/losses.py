"""Losses between images and maps."""

from __future__ import annotations

import functools

import torch
from torch import Tensor


@functools.cache
def _window(size: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    x = torch.arange(size, dtype=torch.float64) - size // 2
    g = torch.exp(-0.5 * (x / sigma).square())
    return (g / g.sum()).to(dtype=dtype, device=device)


def ssim(a: Tensor, b: Tensor, size: int = 11, sigma: float = 1.5) -> Tensor:
    """Mean structural similarity of images [H, W, C] in 0..1 (Wang et al. 2004; Gaussian window, zero padding)."""
    g = _window(size, sigma, a.dtype, a.device)
    x, y = a.permute(2, 0, 1), b.permute(2, 0, 1)
    stack = torch.cat([x, y, x * x, y * y, x * y])[:, None]
    pad = size // 2
    stack = torch.nn.functional.conv2d(stack, g.view(1, 1, 1, size), padding=(0, pad))
    stack = torch.nn.functional.conv2d(stack, g.view(1, 1, size, 1), padding=(pad, 0))
    mx, my, xx, yy, xy = stack[:, 0].chunk(5)
    c1, c2 = 0.01**2, 0.03**2
    vx, vy, cov = xx - mx * mx, yy - my * my, xy - mx * my
    value = ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return value.mean()


def photometric(rendered: Tensor, target: Tensor, ssim_weight: float = 0.2) -> Tensor:
    """(1 - w) L1 + w (1 - SSIM) between images [H, W, 3] (3DGS, eq. 7)."""
    l1 = (rendered - target).abs().mean()
    return (1 - ssim_weight) * l1 + ssim_weight * (1 - ssim(rendered, target)) if ssim_weight else l1


def area_average(image: Tensor, height: int, width: int) -> Tensor:
    """A map [H, W, C] averaged over the cells of a grid: [height, width, C]."""
    if image.shape[:2] == (height, width):
        return image
    channels_first = image.permute(2, 0, 1)[None]
    return torch.nn.functional.adaptive_avg_pool2d(channels_first, (height, width))[0].permute(1, 2, 0)


def feature_distance(rendered: Tensor, teacher: Tensor) -> Tensor:
    """Mean absolute difference of maps (the distillation loss that DGD trains with)."""
    return (rendered - teacher).abs().mean()
