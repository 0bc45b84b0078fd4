"""A small encoder that is trained with the field, where no frozen network is to be had."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...scenes import BadInput

MULTIPLE = 8
"""Images are stretched to multiples of so many pixels, so that all levels' cells cover them exactly."""

THUMBNAIL = (24, 40)
"""Rows and columns of the reduced frames that the clip's vector is made of."""


class SmallEncoder(nn.Module):
    """Maps of frames that also know their neighbours, and a vector of the clip.

    A pyramid (1/2, 1/4, 1/8 of the resolution) describes each frame by itself. On its two coarser
    levels the frames before and after are read beside it, on the coarsest within some 25 pixels of a
    cell's middle. The levels' sum is the map. The vector is that of reduced copies of all frames, so
    that it does not depend on which frames are asked for.

    Args:
        channels: C of the maps.
        latent: G of the clip's vector.
        width: channels of the first level; each next one has twice as many.
    """

    def __init__(self, channels: int = 32, latent: int = 64, width: int = 8):
        super().__init__()
        self.level4 = nn.Sequential(Halving(3, width, 2), Halving(width, 2 * width))
        self.level8 = Halving(2 * width, 4 * width)
        self.mix = nn.Conv2d(4 * width, 4 * width, 3, padding=1)
        self.over_time4 = nn.Conv2d(3 * 2 * width, channels, 1)
        self.over_time8 = nn.Conv2d(3 * 4 * width, channels, 3, padding=1)
        self.summary = nn.Sequential(Halving(3, width, 2), Halving(width, 2 * width), Halving(2 * width, 4 * width))
        self.latent = nn.Linear(4 * width, latent)

    def forward(self, clip: Tensor, frames: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Maps and vector of ``clip`` [T, 3, H, W] in 0..1.

        Args:
            clip: all frames that may be seen, in time order.
            frames: positions [N] of those whose maps are wanted, in any order; None for all. Only
                they and their neighbours are read for the maps. The ends are their own neighbours.

        Returns:
            maps [N, C, h, w], whose cells cover the whole image, h and w even and near a quarter of
            H and W; and the vector [G] of the clip.

        Raises:
            BadInput: a clip of another shape, or a position outside it.
        """
        if clip.ndim != 4 or clip.shape[1] != 3 or 0 in clip.shape or not clip.is_floating_point():
            raise BadInput(f"clip: expected floats [T, 3, H, W], got {list(clip.shape)} {clip.dtype}")
        count = len(clip)
        wanted = torch.arange(count) if frames is None else torch.as_tensor(frames, dtype=torch.int64).cpu()
        if wanted.ndim != 1 or not len(wanted) or not bool(((wanted >= 0) & (wanted < count)).all()):
            raise BadInput(f"frames: expected positions in a clip of {count}, got {wanted.tolist()}")
        around = (wanted[:, None] + torch.tensor([-1, 0, 1])).clamp(0, count - 1)
        read, where = around.unique(return_inverse=True)
        quarter = self.level4(stretched(clip[read.to(clip.device)]))
        eighth = self.level8(quarter)
        eighth = eighth + F.relu(self.mix(eighth))
        fine = self.over_time4(quarter[where].flatten(1, 2))
        coarse = self.over_time8(eighth[where].flatten(1, 2))
        return fine + enlarged(coarse), self.vector(clip)

    def vector(self, clip: Tensor) -> Tensor:
        """The vector [G] of ``clip`` [T, 3, H, W]."""
        small = F.interpolate(clip, THUMBNAIL, mode="area")
        return self.latent(self.summary(small).mean((0, 2, 3)))


class Halving(nn.Sequential):
    """Half the resolution: [B, C, H, W] to [B, D, H/2, W/2], H and W even.

    A window of two or four pixels on every second one is centred on the cell of two that it stands for.
    """

    def __init__(self, channels: int, out: int, window: int = 4):
        reduce = nn.Conv2d(channels, out, window, stride=2, padding=window // 2 - 1)
        super().__init__(reduce, nn.GroupNorm(1, out), nn.ReLU())


def stretched(images: Tensor) -> Tensor:
    """``images`` [B, 3, H, W] with sides that are multiples of ``MULTIPLE``, borders on borders."""
    size = tuple(max(1, round(side / MULTIPLE)) * MULTIPLE for side in images.shape[-2:])
    if size == tuple(images.shape[-2:]):
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=False)


def enlarged(x: Tensor) -> Tensor:
    """``x`` at twice the resolution, cells subdivided."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
