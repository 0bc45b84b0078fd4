"""The photometric loss with its window by OpenCV and all else by torch."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

_X = np.arange(11) - 5
TAPS = np.exp(-0.5 * (_X / 1.5) ** 2)
TAPS /= TAPS.sum()


class _Blur(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image: Tensor) -> Tensor:
        array = image.contiguous().numpy()
        return torch.from_numpy(cv2.sepFilter2D(array, -1, TAPS, TAPS, borderType=cv2.BORDER_CONSTANT))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _Blur.forward(ctx, gradient)


def photometric(a: Tensor, b: Tensor, ssim_weight: float = 0.2) -> Tensor:
    """(1 - w) L1 + w (1 - SSIM) of images [H, W, 3]."""
    m, n, aa, bb, ab = (_Blur.apply(x) for x in (a, b, a * a, b * b, a * b))
    v, w, c = aa - m * m, bb - n * n, ab - m * n
    c1, c2 = 0.01**2, 0.03**2
    similar = (2 * m * n + c1) * (2 * c + c2) / ((m * m + n * n + c1) * (v + w + c2))
    return (1 - ssim_weight) * (a - b).abs().mean() + ssim_weight * (1 - similar.mean())
