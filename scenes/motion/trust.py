"""Which pixels' still depth can be trusted: enough parallax, and other frames agree."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..camera import Camera
from ..scene import Scene
from .evidence import flow_masks
from .flow import pixel_grid
from .triangulate import Epipolar, StillFit, still_fits

# A depth is sure when one noise of the flow moves it by less than this share.
LARGEST_DEVIATION = 0.1
FLOW_NOISE = 0.3  # pixels
# Two frames agree on a point when its depths differ by less than this share, besides the noise.
AGREEMENT = 0.03
WITNESSES = 16  # frames that are asked about each pixel


@dataclass
class Trust:
    """How other frames judge the still depth of each training frame's pixels.

    Attributes:
        trusted: [T, H, W] bool: the depth is sure by itself and more frames agree than see through it.
        solid: [T, H, W] bool: hardly any frame sees through it and several agree; what moved slowly and
            passed for still for a while is not among them.
    """

    trusted: Tensor
    solid: Tensor


def trust(scene: Scene) -> Trust:
    """The :class:`Trust` of a posed scene, kept with ``scene`` while it lives."""
    kept = getattr(scene, "_trust", None)
    if kept is None or len(kept.trusted) != len(scene.train):
        fits, moving = still_fits(scene), flow_masks(scene, posed=True, dilate=2)
        sure = torch.stack([_sure(fit) & ~mask for fit, mask in zip(fits, moving, strict=True)])
        judged = [_judged(scene.cameras, fits, sure, t) for t in range(len(fits))]
        agree, through = (torch.stack(counts) for counts in zip(*judged, strict=True))
        several = min(4, max(1, (len(fits) - 1) // 3))
        kept = scene._trust = Trust(
            sure & (agree >= 1) & (agree > through),
            sure & (agree >= several) & (agree >= 6 * through),
        )
    return kept


def _sure(fit: StillFit) -> Tensor:
    """Where one frame's fit is good by itself, [H, W]."""
    known = torch.isfinite(fit.residual)
    square = torch.where(known, fit.residual, 0).square()
    # at least a third of the frames it could be compared with must support the depth
    supported = (known & (fit.residual < 1.0)).sum(0) >= max(1, len(fit.others) // 3)
    spread = (square.clamp_max(4).sum(0) / known.sum(0).clamp_min(1)).sqrt()
    return (
        supported
        & (spread < 1.0)
        & (fit.inverse_depth > 1e-6)
        & (FLOW_NOISE * fit.deviation < LARGEST_DEVIATION * fit.inverse_depth)
    )


def _judged(cameras: list[Camera], fits: list[StillFit], sure: Tensor, index: int) -> tuple[Tensor, Tensor]:
    """How many of the other frames see the point of a sure pixel at its depth, and how many see
    through it: two counts [H, W]."""
    count = len(fits)
    height, width = sure.shape[1:]
    agree, through = torch.zeros(height, width), torch.zeros(height, width)
    chosen = sure[index]
    if not chosen.any():
        return agree, through
    step = max(1, count // WITNESSES)
    others = [other for other in range(index % step, count, step) if other != index]
    others = sorted({*others, *[o for o in (index - 1, index + 1) if 0 <= o < count]})
    pixels = torch.from_numpy(pixel_grid(height, width))[chosen]
    rho = fits[index].inverse_depth[chosen]
    epipolar = Epipolar.between(cameras[index], [cameras[other] for other in others], pixels)
    supports, contradicts = torch.zeros(len(rho)), torch.zeros(len(rho))
    for other, place, ratio in zip(others, *epipolar.project(rho), strict=True):
        x, y = place.floor().long()
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height) & (ratio > 1e-3)
        x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
        fit = fits[other]
        here = rho / ratio.clamp_min(1e-3)
        tolerance = AGREEMENT * here + 2 * FLOW_NOISE * fit.deviation[y, x]
        counted = inside & sure[other][y, x]
        difference = fit.inverse_depth[y, x] - here
        supports += counted & (difference.abs() < tolerance)
        contradicts += counted & (difference < -tolerance)
    agree[chosen], through[chosen] = supports, contradicts
    return agree, through
