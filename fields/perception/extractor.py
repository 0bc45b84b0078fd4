"""What reference views show: a residual network, maps for colours and maps for semantics."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST = 17  # pixels along a side: less leaves nothing to convolve at a sixteenth of it


class Maps(NamedTuple):
    """Maps of V views over their whole images."""

    color: Tensor  # [V, C, h, w]
    semantic: Tensor  # [V, D, H / 2, W / 2], four levels side by side, the coarsest first


class Extractor(nn.Module):
    """The residual network of IBRNet (three stages of a ResNet-34, instance norm, no pooling) with a decoder for colour
    features and a feature pyramid for semantic ones (GP-NeRF, section 3.1).

    Args:
        widths: channels of the stem and the three stages, (64, 64, 128, 256) in the paper. blocks: of the stages.
        decoder, color_channels: of the colour decoder and its map. color_stride: pixels per cell of it, 4 or 2.
        level_channels: of each of the pyramid's four levels.
        gradient_block: the colour decoder sends no gradient into the last stage, which is left to semantics.
    """

    def __init__(self, widths=(64, 64, 128, 256), blocks=(3, 4, 6), decoder: int = 128, color_channels: int = 32,
                 color_stride: int = 4, level_channels: int = 128, gradient_block: bool = True):
        super().__init__()
        self.gradient_block = gradient_block
        self.stem = nn.Conv2d(3, widths[0], 7, 2, 3, padding_mode="reflect", bias=False)
        self.norm = _norm(widths[0])
        stages = []
        for k, count in enumerate(blocks):
            parts = [Block(widths[k], widths[k + 1], 2)]
            parts += [Block(widths[k + 1], widths[k + 1], 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(*parts))
        self.stages = nn.ModuleList(stages)
        # From stride 16 up to that of the colour map, each step beside the network's own map of that size.
        steps = {4: 2, 2: 3}[color_stride]
        skips = widths[2::-1][:steps]
        outs = [decoder] * (steps - 1) + [color_channels]
        ins = [widths[3], *outs[:-1]]
        self.up = nn.ModuleList(
            nn.Conv2d(i + skip, out, 3, padding=1) for i, skip, out in zip(ins, skips, outs, strict=True)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, level_channels, 1) for width in widths[::-1])
        self.smooth = nn.ModuleList(nn.Conv2d(level_channels, level_channels, 3, padding=1) for _ in widths)

    def forward(self, images: Tensor) -> Maps:
        """Maps of ``images`` [V, 3, H, W] in 0..1, of any size from ``SMALLEST`` pixels."""
        x = F.relu(self.norm(self.stem(4 * images - 2)))  # about the mean and spread that ImageNet's networks know
        found = [x]
        for stage in self.stages:
            found.append(stage(found[-1]))
        return Maps(self._color(found), self._semantic(found))

    def _color(self, found: list[Tensor]) -> Tensor:
        x = found[-1].detach() if self.gradient_block else found[-1]
        for k, layer in enumerate(self.up):
            skip = found[-2 - k]
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = layer(torch.cat([x, skip], 1))
            x = F.elu(x) if k + 1 < len(self.up) else x
        return x

    def _semantic(self, found: list[Tensor]) -> Tensor:
        levels, above = [], None
        for own, lateral, smooth in zip(found[::-1], self.lateral, self.smooth, strict=True):
            level = lateral(own)
            if above is not None:
                level = level + F.interpolate(above, size=level.shape[-2:], mode="nearest")
            above = level
            levels.append(smooth(level))
        size = found[0].shape[-2:]
        return torch.cat([F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in levels], 1)


class Block(nn.Module):
    """Two 3x3 convolutions and a short cut (He et al. 2016), with instance norm."""

    def __init__(self, width: int, out: int, stride: int):
        super().__init__()
        self.first, self.second = _conv(width, out, 3, stride), _conv(out, out, 3, 1)
        self.norm1, self.norm2 = _norm(out), _norm(out)
        self.short = nn.Sequential(_conv(width, out, 1, stride), _norm(out)) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.first(x)))
        return F.relu(self.norm2(self.second(y)) + self.short(x))


def _conv(width: int, out: int, size: int, stride: int) -> nn.Conv2d:
    mode = "reflect" if size > 1 else "zeros"
    return nn.Conv2d(width, out, size, stride, size // 2, padding_mode=mode, bias=False)


def _norm(width: int) -> nn.Module:
    return nn.InstanceNorm2d(width, affine=True)
