"""The photometric loss by its definition, in plain torch."""

import torch
from torch import Tensor


def blurred(image: Tensor, size: int = 11, sigma: float = 1.5) -> Tensor:
    """An image [H, W, C] under a Gaussian window, zeros around it: one shifted copy per tap."""
    x = torch.arange(size, dtype=image.dtype) - size // 2
    window = torch.exp(-0.5 * (x / sigma) ** 2)
    window = window / window.sum()
    for axis in (0, 1):
        count, pad = image.shape[axis], [0, 0, 0, 0, 0, 0]
        pad[4 - 2 * axis : 6 - 2 * axis] = [size // 2] * 2
        padded = torch.nn.functional.pad(image, pad)
        image = sum(w * padded.narrow(axis, k, count) for k, w in enumerate(window))
    return image


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of every value of two images [H, W, C] (Wang et al. 2004, eq. 13)."""
    m, n = blurred(a), blurred(b)
    v, w, c = blurred(a * a) - m * m, blurred(b * b) - n * n, blurred(a * b) - m * n
    c1, c2 = 0.01**2, 0.03**2
    return (2 * m * n + c1) * (2 * c + c2) / ((m * m + n * n + c1) * (v + w + c2))


def photometric(a: Tensor, b: Tensor, ssim_weight: float) -> Tensor:
    """(1 - w) L1 + w (1 - SSIM), means over all values (3DGS, eq. 7)."""
    return (1 - ssim_weight) * (a - b).abs().mean() + ssim_weight * (1 - similarity(a, b).mean())
