"""Brightness that changes over time: shadows that pass over what stands still, shading as things turn."""

from __future__ import annotations

import torch
from torch import Tensor

from .color import SH_C0


def between(light: Tensor, time: float) -> Tensor:
    """``light`` [N, L], given at L times evenly over 0..1, at ``time``: [N], linear in between."""
    last = light.shape[1] - 1
    at = min(max(float(time), 0.0), 1.0) * last
    first = min(int(at), max(last - 1, 0))
    return torch.lerp(light[:, first], light[:, min(first + 1, last)], at - first)


def lit(sh: Tensor, light: Tensor) -> Tensor:
    """Spherical harmonics [N, K, 3] of colours times 1 + ``light`` [N] (colours are 0.5 + sum of harmonics, 3DGS)."""
    grey = sh.new_tensor(0.5 / SH_C0)
    return torch.cat([sh[:, :1] + light[:, None, None] * (sh[:, :1] + grey), sh[:, 1:] * (1 + light[:, None, None])], 1)


def unevenness(light: Tensor) -> Tensor:
    """Mean absolute brightness change, and half as much its mean step between neighbouring times: few things change."""
    steps = (light[:, 1:] - light[:, :-1]).abs().mean() if light.shape[1] > 1 else light.new_zeros(())
    return light.abs().mean() + 0.5 * steps
