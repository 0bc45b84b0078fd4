"""Losses between images and maps."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor


class _Blur(torch.autograd.Function):
    """An image [H, W, C] under a symmetric Gaussian window with zero padding; its own adjoint."""

    @staticmethod
    def forward(ctx, image: Tensor, size: int, sigma: float) -> Tensor:
        ctx.window = size, sigma
        return _blurred(image, size, sigma)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return _blurred(gradient, *ctx.window), None, None


def _blurred(image: Tensor, size: int, sigma: float) -> Tensor:
    taps = _taps(size, sigma)
    if image.device.type == "cpu":
        # torch's CPU convolution takes a hundred times longer at few channels, its backward more.
        import cv2

        array = image.contiguous().numpy()
        blurred = cv2.sepFilter2D(array, -1, taps, taps, borderType=cv2.BORDER_CONSTANT)
        return torch.from_numpy(blurred.reshape(array.shape))
    g = torch.from_numpy(taps).to(image)
    stack = image.permute(2, 0, 1)[:, None]
    stack = torch.nn.functional.conv2d(stack, g.view(1, 1, 1, size), padding=(0, size // 2))
    stack = torch.nn.functional.conv2d(stack, g.view(1, 1, size, 1), padding=(size // 2, 0))
    return stack[:, 0].permute(1, 2, 0)


@functools.cache
def _taps(size: int, sigma: float) -> np.ndarray:
    x = np.arange(size) - size // 2
    g = np.exp(-0.5 * (x / sigma) ** 2)
    return g / g.sum()


def ssim(a: Tensor, b: Tensor, size: int = 11, sigma: float = 1.5) -> Tensor:
    """Mean structural similarity of images [H, W, C] in 0..1 (Wang et al. 2004; Gaussian window, zero padding)."""
    mx, my, xx, yy, xy = (_Blur.apply(image, size, sigma) for image in (a, b, a * a, b * b, a * b))
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
