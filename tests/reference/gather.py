"""Maps looked up where points project, in plain torch: any dtype, gradients by autograd. The oracle of
``kernels.gather``, written by indexing rather than with ``grid_sample``."""

from __future__ import annotations

import torch
from torch import Tensor


def bilinear(maps: Tensor, pixels: Tensor, width: int, height: int) -> Tensor:
    """Values [P, V, C] of maps [V, C, h, w], each over the whole image, at pixels [P, V, 2]."""
    rows, columns = maps.shape[2:]
    x = (pixels[..., 0] * columns / width - 0.5).clamp(0, columns - 1)
    y = (pixels[..., 1] * rows / height - 0.5).clamp(0, rows - 1)
    x0, y0 = x.detach().floor().long(), y.detach().floor().long()
    x1, y1 = (x0 + 1).clamp(max=columns - 1), (y0 + 1).clamp(max=rows - 1)
    view = torch.arange(len(maps), device=maps.device)
    last = maps.permute(0, 2, 3, 1)
    wx, wy = (x - x0)[..., None], (y - y0)[..., None]
    above = (1 - wx) * last[view, y0, x0] + wx * last[view, y0, x1]
    below = (1 - wx) * last[view, y1, x0] + wx * last[view, y1, x1]
    return (1 - wy) * above + wy * below


def sample(
    levels: list[Tensor], points: Tensor, viewmats: Tensor, Ks: Tensor, width: int, height: int, near: float = 0.01
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``(features, pixels, depth, valid)`` for finite points [P, 3], or [P, V, 3], one for each view."""
    moving = points if points.ndim == 3 else points[:, None].expand(-1, len(viewmats), -1)
    local = torch.einsum("vij,pvj->pvi", viewmats[:, :3, :3], moving) + viewmats[:, :3, 3]
    depth = local[..., 2]
    front = depth >= near
    ray = local / torch.where(front, depth, torch.ones_like(depth))[..., None]
    ray = torch.cat([ray[..., :2], torch.ones_like(depth)[..., None]], -1)
    pixels = torch.einsum("vij,pvj->pvi", Ks[:, :2], ray)
    pixels = torch.where(front[..., None], pixels, torch.zeros_like(pixels))
    u, v = pixels.detach().unbind(-1)
    valid = front & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    features = torch.cat([bilinear(level, pixels, width, height) for level in levels], -1)
    return torch.where(valid[..., None], features, torch.zeros_like(features)), pixels, depth, valid
