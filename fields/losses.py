"""Losses between images and maps."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..kernels import ssim as kernels

SIZE, SIGMA = 11, 1.5  # of SSIM's Gaussian window, in pixels


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of images [H, W, C] in 0..1 (Wang et al. 2004; 11x11 Gaussian window, sigma 1.5, zero
    padding as in 3DGS). Differentiable in ``a``."""
    return 1 - photometric(a, b, 1.0)


def photometric(rendered: Tensor, target: Tensor, ssim_weight: float = 0.2) -> Tensor:
    """(1 - w) L1 + w (1 - SSIM) between images [H, W, 3] (3DGS, eq. 7). Differentiable in ``rendered``."""
    target = target.to(rendered)
    if not ssim_weight:
        return (rendered - target).abs().mean()
    if rendered.device.type != "cpu":
        l1 = (rendered - target).abs().mean()
        return (1 - ssim_weight) * l1 + ssim_weight * (1 - _similarity(rendered, target))
    return _Photometric.apply(rendered, target, ssim_weight)


class _Photometric(torch.autograd.Function):
    """:func:`photometric` on the CPU."""

    @staticmethod
    def forward(ctx, rendered: Tensor, target: Tensor, ssim_weight: float) -> Tensor:
        images = rendered.contiguous(), target.contiguous()
        similar, apart, partials = kernels.compare(*images, _taps(rendered.dtype), ctx.needs_input_grad[0])
        ctx.ssim_weight = ssim_weight
        ctx.save_for_backward(*images, partials)
        count = rendered.numel()
        return rendered.new_tensor((1 - ssim_weight) * apart / count + ssim_weight * (1 - similar / count))

    @staticmethod
    @once_differentiable
    def backward(ctx, v_loss: Tensor):
        rendered, target, partials = ctx.saved_tensors
        share = v_loss.item() / rendered.numel()
        w, taps = ctx.ssim_weight, _taps(rendered.dtype)
        return kernels.adjoint(rendered, target, taps, partials, -w * share, (1 - w) * share), None, None


def _similarity(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity by torch's convolutions, as on CUDA devices."""
    mx, my, xx, yy, xy = _Blur.apply(torch.stack([a, b, a * a, b * b, a * b])).unbind(0)
    vx, vy, cov = xx - mx * mx, yy - my * my, xy - mx * my
    value = (2 * mx * my + kernels.C1) * (2 * cov + kernels.C2)
    return (value / ((mx * mx + my * my + kernels.C1) * (vx + vy + kernels.C2))).mean()


class _Blur(torch.autograd.Function):
    """Images [B, H, W, C] under SSIM's window with zero padding; its own adjoint."""

    @staticmethod
    def forward(ctx, images: Tensor) -> Tensor:
        return _blurred(images)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        return _blurred(gradient)


def _blurred(images: Tensor) -> Tensor:
    count, height, width, channels = images.shape
    taps = _taps(images.dtype).to(images.device)
    stack = images.permute(0, 3, 1, 2).reshape(-1, 1, height, width)
    # Variances are small differences of large squares: the ten bits that convolutions have by default are too few.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        stack = torch.nn.functional.conv2d(stack, taps.view(1, 1, 1, -1), padding=(0, SIZE // 2))
        stack = torch.nn.functional.conv2d(stack, taps.view(1, 1, -1, 1), padding=(SIZE // 2, 0))
    return stack.view(count, channels, height, width).permute(0, 2, 3, 1)


@functools.cache
def _taps(dtype: torch.dtype) -> Tensor:
    """SSIM's window along one axis."""
    x = torch.arange(SIZE, dtype=torch.float64) - SIZE // 2
    window = torch.exp(-0.5 * (x / SIGMA) ** 2)
    return (window / window.sum()).to(dtype)


def area_average(image: Tensor, height: int, width: int) -> Tensor:
    """A map [H, W, C] averaged over the cells of a grid: [height, width, C]."""
    if image.shape[:2] == (height, width):
        return image
    channels_first = image.permute(2, 0, 1)[None]
    return torch.nn.functional.adaptive_avg_pool2d(channels_first, (height, width))[0].permute(1, 2, 0)


def feature_distance(rendered: Tensor, teacher: Tensor) -> Tensor:
    """Mean absolute difference of maps (the distillation loss that DGD trains with)."""
    return (rendered - teacher).abs().mean()
