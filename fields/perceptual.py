"""LPIPS, the learned perceptual distance of images (Zhang et al., CVPR 2018): v0.1, AlexNet."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..scenes.files import BadInput, read_npz
from ..scenes.teachers.weights import find_weights

FILE_NAME = "lpips_alexnet_v0.1.npz"
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
LAYERS = (
    (64, 3, 11, 4, 2),
    (192, 64, 5, 1, 2),
    (384, 192, 3, 1, 1),
    (256, 384, 3, 1, 1),
    (256, 256, 3, 1, 1),
)
"""AlexNet's convolutions: channels out and in, kernel, stride, padding."""
SMALLEST = 32  # pixels: below, the last layers have no cells


class Lpips:
    """Distance of two images: 0 for equal ones, 0.1 for a small and 0.7 for a gross distortion.

    Features of five AlexNet layers are scaled to unit length at each place; their squared
    differences are weighted per channel, averaged over the image and summed over the layers
    (equation 1 of the paper).

    Args:
        tensors: ``conv{1..5}.weight``, ``conv{1..5}.bias`` and ``lin{0..4}.weight``.
        source: named in errors.
    """

    def __init__(self, tensors: dict[str, Tensor], source: str | Path = "LPIPS weights"):
        self._convolutions, self._weights = [], []
        for index, (out, into, kernel, stride, padding) in enumerate(LAYERS):
            weight = _take(tensors, f"conv{index + 1}.weight", (out, into, kernel, kernel), source)
            bias = _take(tensors, f"conv{index + 1}.bias", (out,), source)
            self._convolutions.append((weight, bias, stride, padding))
            self._weights.append(_take(tensors, f"lin{index}.weight", (1, out, 1, 1), source))

    @classmethod
    def load(cls, path: str | Path | None = None) -> Lpips | None:
        """From the npz at ``path``, or from ``$SEMAFLOW_DATA/weights``, or None if it is not there.

        Raises:
            BadInput: ``path`` is not a readable npz of LPIPS weights.
        """
        path = path or find_weights(FILE_NAME)
        if path is None:
            return None
        return cls({name: torch.from_numpy(array) for name, array in read_npz(path).items()}, path)

    @torch.no_grad()
    def __call__(self, a: Tensor, b: Tensor) -> float:
        """Distance of images ``a`` and ``b`` [H, W, 3] in 0..1, 32 pixels a side or more."""
        if a.shape != b.shape or a.ndim != 3 or a.shape[-1] != 3 or min(a.shape[:2]) < SMALLEST:
            raise BadInput(
                f"LPIPS: expected two images of one size, at least {SMALLEST} pixels a side, "
                f"got {list(a.shape)} and {list(b.shape)}"
            )
        x = 2.0 * torch.stack([a, b]).float().cpu().permute(0, 3, 1, 2) - 1.0
        x = (x - x.new_tensor(SHIFT).view(1, 3, 1, 1)) / x.new_tensor(SCALE).view(1, 3, 1, 1)
        total = 0.0
        for index, (weight, bias, stride, padding) in enumerate(self._convolutions):
            if index in (1, 2):
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(F.conv2d(x, weight, bias, stride, padding))
            unit = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
            total += F.conv2d((unit[:1] - unit[1:]).square(), self._weights[index]).mean().item()
        return total


def _take(
    tensors: dict[str, Tensor], name: str, shape: tuple[int, ...], source: str | Path
) -> Tensor:
    if name not in tensors or tensors[name].numel() != torch.Size(shape).numel():
        got = list(tensors[name].shape) if name in tensors else "nothing"
        raise BadInput(f"{source}: {name}: expected shape {list(shape)}, got {got}")
    return tensors[name].float().reshape(shape)
