"""Colours of Gaussians and trajectories."""

from __future__ import annotations

import torch
from torch import Tensor

# From little to much: a cold grey over blue and orange to yellow.
RAMP = torch.tensor(
    [
        [0.86, 0.88, 0.92],
        [0.35, 0.45, 0.85],
        [0.85, 0.25, 0.45],
        [0.98, 0.62, 0.10],
        [1.00, 0.90, 0.20],
    ]
)


def vivid(colors: Tensor, saturation: float = 0.75, brightest: float = 0.52) -> Tensor:
    """Colours [N, 3] of the same hue that stand out from white: of at least ``saturation``, full
    value, but of luma at most ``brightest``. Greys keep what they are up to that luma."""
    value, _ = colors.max(-1, keepdim=True)
    least, _ = colors.min(-1, keepdim=True)
    chroma = value - least
    hue = (value - colors) / chroma.clamp_min(1e-6)  # 0 in the strongest channel, 1 in the weakest
    wanted = (chroma / value.clamp_min(1e-6)).clamp_min(saturation)
    strong = torch.where(chroma < 0.02, colors, 0.95 * (1 - wanted * hue))
    luma = strong @ torch.tensor([[0.299], [0.587], [0.114]])
    return strong * (brightest / luma.clamp_min(1e-6)).clamp(max=1.0)


def scored(scores: Tensor, threshold: float) -> Tensor:
    """Scores [N] as colours [N, 3]: grey to blue below ``threshold``, red to yellow above it."""
    scores = scores.detach().cpu().float()
    low, high = scores.min().item(), scores.max().item()
    below = 0.5 * (scores - low) / max(threshold - low, 1e-9)
    above = 0.5 + 0.5 * (scores - threshold) / max(high - threshold, 1e-9)
    place = torch.where(scores < threshold, below, above).clamp(0, 1) * (len(RAMP) - 1)
    left = place.long().clamp(max=len(RAMP) - 2)
    return torch.lerp(RAMP[left], RAMP[left + 1], (place - left)[:, None])


def toward(colors: Tensor, other: float, share: float | Tensor) -> Tensor:
    """Colours [..., 3] mixed with the grey value ``other`` (1: white) by ``share``."""
    return colors + (other - colors) * share
