"""Perception heads: class scores of a picture from rendered semantic features, with or without their context."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 4  # of the semantic features, the coarsest first


class UNetHead(nn.Module):
    """The decoder of GP-NeRF (eq. 3): ``s'_i = relu(conv(s_i + up(s'_{i-1})))``, from the coarsest level to the finest.

    Args:
        channels: of each of the four levels. width: of the decoder. out: scores per pixel.
        concatenate: levels side by side, as the paper's text says, not summed, as its equation says.
    """

    def __init__(self, channels: int, width: int, out: int, concatenate: bool = False):
        super().__init__()
        self.concatenate = concatenate
        first = channels + width if concatenate else width
        self.enter = nn.ModuleList(
            nn.Identity() if concatenate else nn.Conv2d(channels, width, 1) for _ in range(LEVELS)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(width, width, 2, 2) for _ in range(LEVELS - 1))
        self.convolutions = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels if concatenate and k == 0 else first, width, 3, padding=1), nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            )
            for k in range(LEVELS)
        )  # fmt: skip
        self.scores = nn.Conv2d(width, out, 1)

    def forward(self, features: Tensor, height: int, width: int) -> Tensor:
        """Scores [B, out, height, width] of features [B, D, h, w] of any size."""
        levels = features.chunk(LEVELS, 1)
        x = None
        for k, (level, enter, convolve) in enumerate(zip(levels, self.enter, self.convolutions, strict=True)):
            own = enter(_reduced(level, LEVELS - 1 - k))
            if x is not None:
                above = _stretched(self.up[k - 1](x), *own.shape[-2:])
                own = torch.cat([own, above], 1) if self.concatenate else own + above
            x = convolve(own)
        return _stretched(self.scores(x), height, width)


class FpnHead(nn.Module):
    """The head of panoptic feature pyramids (Kirillov et al. 2019): levels brought to one size and summed."""

    def __init__(self, channels: int, width: int, out: int):
        super().__init__()
        groups = next(g for g in (8, 4, 2, 1) if width % g == 0)
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(groups, width), nn.ReLU())
            for _ in range(LEVELS)
        )
        self.scores = nn.Conv2d(width, out, 1)

    def forward(self, features: Tensor, height: int, width: int) -> Tensor:
        """As of :class:`UNetHead`."""
        levels = features.chunk(LEVELS, 1)
        size = features.shape[-2:]
        total = sum(
            _stretched(layer(_reduced(level, LEVELS - 1 - k)), *size)
            for k, (level, layer) in enumerate(zip(levels, self.levels, strict=True))
        )
        return _stretched(self.scores(total), height, width)


class PixelHead(nn.Module):
    """Each cell by itself, without context: what the other heads are compared with."""

    def __init__(self, channels: int, width: int, out: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(LEVELS * channels, 2 * width, 1), nn.ReLU(), nn.Conv2d(2 * width, width, 1), nn.ReLU(),
            nn.Conv2d(width, out, 1),
        )

    def forward(self, features: Tensor, height: int, width: int) -> Tensor:
        """As of :class:`UNetHead`."""
        return _stretched(self.layers(features), height, width)


def head(config, out: int) -> nn.Module:
    """The head that ``config`` names, with ``out`` scores per pixel."""
    sizes = config.level_channels, config.head_width, out
    if config.head == "unet":
        return UNetHead(*sizes, config.concatenate)
    return (FpnHead if config.head == "fpn" else PixelHead)(*sizes)


def _reduced(level: Tensor, halvings: int) -> Tensor:
    """A map [B, C, h, w] averaged over cells of 2 ** ``halvings``, the last ones perhaps smaller."""
    height, width = (max(1, -(-side >> halvings)) for side in level.shape[-2:])
    return F.adaptive_avg_pool2d(level, (height, width)) if halvings else level


def _stretched(x: Tensor, height: int, width: int) -> Tensor:
    if x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
