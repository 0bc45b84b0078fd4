"""What a network is told of a place and a time: Fourier waves, or planes of learned features."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from ...kernels.gather import sample_trajectories
from ..motion.network import encode

GRID = 1 << 12  # pixels of the image that a plane covers; its cells may be of any size


class Waves(torch.nn.Module):
    """Sines and cosines of octaves, scaled to length one: [P, D] to [P, D (1 + 2 octaves)] (Semantic Flow's input)."""

    def __init__(self, dims: int, octaves: int = 10, normalised: bool = True):
        super().__init__()
        self.octaves, self.normalised = octaves, normalised
        self.size = dims * (1 + 2 * octaves)

    def forward(self, places: Tensor) -> Tensor:
        waves = encode(places, self.octaves)
        return torch.nn.functional.normalize(waves, dim=-1) if self.normalised else waves


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
        pairs = list(itertools.combinations(range(dims), 2))
        self.spatial = [pair for pair in pairs if 3 not in pair]
        self.temporal = [pair for pair in pairs if 3 in pair]
        self.size = levels * channels
        sides = [max(4, resolution >> level) for level in range(levels)]
        space = [torch.rand(len(self.spatial), n, n, channels) * 0.4 + 0.1 for n in sides]
        self.space = torch.nn.ParameterList(space)
        rest = [torch.ones(len(self.temporal), moments, n, channels) for n in sides] if self.temporal else []
        self.time = torch.nn.ParameterList(rest)
        self.register_buffer("identity", torch.eye(4)[None], persistent=False)

    def forward(self, places: Tensor) -> Tensor:
        held = self._read(self.space, places, self.spatial)
        if self.temporal:
            held += self._read(self.time, places, self.temporal)
        features = held[0]
        for other in held[1:]:
            features = features * other
        return features

    def _read(self, planes, places: Tensor, pairs) -> list[Tensor]:
        """What the planes of ``pairs`` hold, [P, levels * channels] each; one lookup reads them all."""
        limit = (places.clamp(-1, 1) + 1) * (0.5 * GRID) * (1 - 1e-5)
        seen = [torch.stack([limit[:, a], limit[:, b], torch.ones_like(limit[:, a])], -1) for a, b in pairs]
        views = self.identity.expand(len(pairs), 4, 4)
        maps = [plane.permute(0, 3, 1, 2) for plane in planes]
        features, *_ = sample_trajectories(maps, torch.stack(seen, 1), views, views[:, :3, :3], GRID, GRID)
        return list(features.unbind(1))

    def roughness(self) -> Tensor:
        """Mean squared second difference along time (K-planes, eq. 6) and mean squared difference across space."""
        across = [plane.diff(dim=axis).square().mean() for plane in self.space for axis in (1, 2)]
        along = [plane.diff(n=2, dim=1).square().mean() for plane in self.time if plane.shape[1] > 2]
        still = [(plane - 1).abs().mean() for plane in self.time]
        return sum(across) + (10 * sum(along) + 0.1 * sum(still) if along else 0.0)
