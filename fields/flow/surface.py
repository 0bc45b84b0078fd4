"""Pixels whose depth is known, asked at single places instead of along whole rays.

A ray that ends at length d has the likelihood exp(-int_0^d sigma) (1 - exp(-sigma(d) thickness)) under a field. With d
known, its negative logarithm and the colours and classes at d need two places of it, where rendering needs some forty:
many more of a video's pixels are seen in the same time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .clip import Clip
from .targets import Targets

THICKNESS = 0.02  # of a surface, in half sizes of the scene


@dataclass
class Surface:
    """N pixels with what is seen there.

    Attributes:
        at, before: [N, 3] where the ray ends, and one place that it passes on the way.
        passed: [N] length, in half sizes of the scene, that the density at ``before`` stands for.
        directions: [N, 3] unit. color [N, 3]. moving [N] bool. label [N] int64, -1 unlabelled; None without any.
    """

    at: Tensor
    before: Tensor
    passed: Tensor
    directions: Tensor
    color: Tensor
    moving: Tensor
    label: Tensor | None


def draw_surface(clip: Clip, found: Targets, depth: Tensor, pools: list[Tensor], count: int,
                 generator: torch.Generator, share: float = 1.0) -> Surface | None:
    """``count`` pixels, as many of each of the ``pools`` of flat indices into all frames' pixels of known ``depth``
    [F, H, W]; None where all are empty. Their rays end at a ``share`` of that depth.

    The place on the way is drawn more often the nearer the end (u^2 of the way from there), where a density is most
    often wrong.
    """
    pools = [pool for pool in pools if len(pool)]
    if not pools:
        return None
    each = count // len(pools)
    chosen = torch.cat([pool[torch.randint(len(pool), (each,), generator=generator)] for pool in pools])
    u = torch.rand(len(chosen), generator=generator).to(clip.center.device)
    _, height, width = depth.shape
    index = chosen.div(height * width, rounding_mode="floor")
    row, column = (chosen % (height * width)).div(width, rounding_mode="floor"), chosen % width
    rays, origins = _rays(clip, torch.tensor(found.frames)[index], torch.stack([column, row], -1) + 0.5)

    def of(values: Tensor) -> Tensor:
        return values[index, row, column].to(u.device)

    end, scale = share * of(depth), rays.norm(dim=-1) / clip.radius
    free = (end - clip.near - THICKNESS / scale).clamp_min(0.0)
    there = clip.near + free * (1 - u.square())
    return Surface(
        origins + rays * end[:, None], origins + rays * there[:, None], free * scale * 2 * u,
        torch.nn.functional.normalize(rays, dim=-1), of(found.images), of(found.moving),
        None if found.labels is None else of(found.labels),
    )


def _rays(clip: Clip, frames: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Directions with unit z in their cameras, and origins, [N, 3] each, of pixels [N, 2] of as many frames."""
    frames, pixels = frames.to(clip.Ks.device), pixels.to(clip.Ks)
    K, back = clip.Ks[frames], clip.viewmats[frames, :3, :3].mT
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[:, :1])], 1)[..., None]
    rays = back @ torch.linalg.solve_triangular(K, homogeneous, upper=True)
    return rays[..., 0], -(back @ clip.viewmats[frames, :3, 3:])[..., 0]


def unlikely(at: Tensor, before: Tensor, passed: Tensor) -> Tensor:
    """Negative logarithm of the likelihood of a ray's end, [N], of the densities [N] there and on the way."""
    # log(1 - exp(-x)) without loss of digits for small and large x
    opaque = torch.log(-torch.expm1(-(at * THICKNESS).clamp_min(1e-6)))
    return before * passed - opaque
