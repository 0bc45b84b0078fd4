"""Compositing in plain torch: a list of (pixel, Gaussian) pairs, segmented products, and autograd
for the rest.

Only the compositing: the projection, and the list of pairs that contribute, are given for free.
"""

from __future__ import annotations

import torch
from torch import Tensor

ALPHA_MIN, ALPHA_MAX, TRANSMITTANCE_MIN = 1.0 / 255.0, 0.999, 1e-4


class Pairs:
    """The pairs that contribute, sorted by pixel and within each by depth.

    Attributes:
        gaussian, pixel: indices [P].
        first: for each pair, the first pair of its pixel [P].
        x, y: pixel centres [P].
    """

    def __init__(self, gaussian: Tensor, pixel: Tensor, width: int):
        self.gaussian, self.pixel = gaussian, pixel
        counts = torch.unique_consecutive(pixel, return_counts=True)[1]
        starts = torch.cumsum(counts, 0) - counts
        self.first = torch.repeat_interleave(starts, counts)
        self.x, self.y = pixel % width + 0.5, pixel // width + 0.5

    def __len__(self) -> int:
        return len(self.gaussian)

    def alphas(self, means2d: Tensor, conics: Tensor, opacities: Tensor) -> Tensor:
        """Opacity of each pair's Gaussian at its pixel, [P]."""
        x, y = means2d[self.gaussian].unbind(-1)
        A, B, C = conics[self.gaussian].unbind(-1)
        dx, dy = x - self.x, y - self.y
        sigma = 0.5 * (A * dx * dx + C * dy * dy) + B * dx * dy
        return (opacities[self.gaussian] * torch.exp(-sigma)).clamp_max(ALPHA_MAX)

    def transmittances(self, alphas: Tensor) -> Tensor:
        """What is left of the light before each pair, [P]: an exclusive product within each pixel.

        The running sum is kept in float64, since it goes on from pixel to pixel.
        """
        logs = torch.log1p(-alphas.double())
        before = torch.cumsum(logs, 0) - logs
        return torch.exp(before - before[self.first]).to(alphas.dtype)


def composite(
    pairs: Pairs,
    means2d: Tensor,
    conics: Tensor,
    opacities: Tensor,
    colors: Tensor,
    pixel_count: int,
) -> tuple[Tensor, Tensor]:
    """Image [pixel_count, D] and alpha [pixel_count]; differentiable in all tensors."""
    alphas = pairs.alphas(means2d, conics, opacities)
    weights = alphas * pairs.transmittances(alphas)
    image = colors.new_zeros(pixel_count, colors.shape[1])
    image = image.index_add(0, pairs.pixel, weights[:, None] * colors[pairs.gaussian])
    return image, colors.new_zeros(pixel_count).index_add(0, pairs.pixel, weights)


@torch.no_grad()
def find_pairs(
    means2d: Tensor,
    radii: Tensor,
    depths: Tensor,
    conics: Tensor,
    opacities: Tensor,
    width: int,
    height: int,
) -> tuple[Pairs, Tensor]:
    """The pairs of N projected Gaussians on an image that the rasterizer counts, and which pixels
    [width * height] hold a pair so close to a cut-off that rounding decides whether it counts.

    ``radii`` [N, 2] are half extents.
    """
    order = torch.argsort(depths)
    order = order[(radii[order] > 0).all(-1)]
    low = (means2d[order] - radii[order] - 0.5).floor().long().clamp_min(0)
    high = (means2d[order] + radii[order] + 0.5).ceil().long()
    high = torch.minimum(high, high.new_tensor([width, height]))
    size = (high - low).clamp_min(0)
    area = size[:, 0] * size[:, 1]
    device = means2d.device
    owner = torch.repeat_interleave(torch.arange(len(order), device=device), area)
    within = torch.arange(len(owner), device=device) - (torch.cumsum(area, 0) - area)[owner]
    column = low[owner, 0] + within % size[owner, 0]
    row = low[owner, 1] + within // size[owner, 0]
    pixel, by_pixel = torch.sort(row * width + column, stable=True)
    pairs = Pairs(order[owner[by_pixel]], pixel, width)
    alphas = pairs.alphas(means2d, conics, opacities)
    close = torch.zeros(width * height, dtype=torch.bool, device=device)
    close[pairs.pixel[(alphas / ALPHA_MIN - 1).abs() < 1e-5]] = True
    kept = alphas >= ALPHA_MIN
    pairs, alphas = Pairs(pairs.gaussian[kept], pairs.pixel[kept], width), alphas[kept]
    after = pairs.transmittances(alphas) * (1 - alphas)
    close[pairs.pixel[(after / TRANSMITTANCE_MIN - 1).abs() < 1e-4]] = True
    kept = after > TRANSMITTANCE_MIN
    return Pairs(pairs.gaussian[kept], pairs.pixel[kept], width), close
