"""Colours for what no picture has shown and a removed thing uncovers: those of what is around it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BESIDE = 0.1  # share of a pixel that may be missing where it is said to be beside the hole


def infilled(color: Tensor, alpha: Tensor, before: Tensor, background: Tensor) -> Tensor:
    """A picture whose holes, where there was something before, are filled with what is around them.

    A thing before nothing leaves nothing: what is filled in is as opaque as the surroundings are.

    Args:
        color: [H, W, 3], composited over the colour ``background`` [3]. alpha: of it, [H, W].
        before: alpha without the removal, [H, W]. What was transparent then stays so.
    """
    hole = (before - alpha).clamp(0, 1)
    own = (color - (1 - alpha)[..., None] * background).permute(2, 0, 1)[None]
    there, beside = alpha[None, None], (hole < BESIDE).to(alpha)[None, None]
    around = _around(own, there)[0].permute(1, 2, 0)
    opaque = _around(beside * there, beside)[0, 0]
    return color + (hole * opaque)[..., None] * (around - background)


def _around(values: Tensor, weight: Tensor) -> Tensor:
    """Of each pixel the weighted mean of as small a surrounding as has any weight, smoothly (pull and push: Gortler et
    al. 1996, section 3.4); ``values`` [1, C, H, W] are multiplied by ``weight`` [1, 1, H, W] already."""
    size = values.shape[-2:]
    if max(size) == 1:
        return torch.where(weight > 1e-6, values / weight.clamp_min(1e-6), 0.0)
    wider, share = (F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) for x in (values, weight))
    beyond = wider + (1 - share) * _around(wider, share)
    return F.interpolate(beyond, size=size, mode="bilinear", align_corners=False)
