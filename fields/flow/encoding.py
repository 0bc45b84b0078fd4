"""What a network is told of a place and a time: Fourier waves, or planes of learned features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ...kernels.planes import sample_planes
from ..motion.network import encode


class Waves(torch.nn.Module):
    """Sines and cosines of octaves, scaled to length one: [P, D] to [P, D (1 + 2 octaves)] (Semantic Flow's input)."""

    def __init__(self, dims: int, octaves: int = 10, normalised: bool = True):
        super().__init__()
        self.octaves, self.normalised = octaves, normalised
        self.size = dims * (1 + 2 * octaves)

    def forward(self, places: Tensor) -> Tensor:
        waves = encode(places, self.octaves)
        return functional.normalize(waves, dim=-1) if self.normalised else waves


class Planes(torch.nn.Module):
    """Learned features of places [P, D] in [-1, 1]: the product, over all pairs of axes, of what the pair's plane holds
    there, at several resolutions (K-planes, Fridovich-Keil et al. 2023, eq. 2; D = 3 or 4, the last axis of 4 is time).

    Planes with time begin at one, so that a fresh field stands still.

    Args:
        dims: 3 or 4.
        resolution: cells along each axis of space on the finest level; each coarser one has half as many.
        channels: of each level.
        levels: how many.
        moments: cells along time on all levels.
    """

    def __init__(self, dims: int, resolution: int = 128, channels: int = 8, levels: int = 3, moments: int = 24):
        super().__init__()
        self.size = levels * channels
        sides = [max(4, resolution >> level) for level in range(levels)]
        self.space = torch.nn.ParameterList([torch.rand(3, n, n, channels) * 0.4 + 0.1 for n in sides])
        rest = [torch.ones(3, moments, n, channels) for n in sides] if dims == 4 else []
        self.time = torch.nn.ParameterList(rest)

    def forward(self, places: Tensor) -> Tensor:
        return sample_planes(places, list(self.space), list(self.time))

    def roughness(self) -> Tensor:
        """Mean squared second difference along time (K-planes, eq. 6) and mean squared difference across space."""
        across = [_step(plane, axis) for plane in self.space for axis in (1, 2)]
        along = [_step(plane.diff(dim=1), 1) for plane in self.time if plane.shape[1] > 2]
        still = [functional.l1_loss(plane, torch.ones_like(plane)) for plane in self.time]
        return sum(across) + (10 * sum(along) + 0.1 * sum(still) if along else 0.0)


def _step(values: Tensor, axis: int) -> Tensor:
    """Mean squared difference of neighbours along an axis; as one loss, which is faster than a difference squared."""
    count = values.shape[axis] - 1
    return functional.mse_loss(values.narrow(axis, 1, count), values.narrow(axis, 0, count))
