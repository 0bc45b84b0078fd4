"""Both transformers in turn: what a ray shows, from what reference views show at its samples."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...kernels.composite import accumulate_along_rays, render_weight_from_alpha
from ..motion.network import encode
from .config import DENSITY, PerceptionConfig
from .precision import applied, lowered
from .ray_transformer import RayBlock, density_alphas, ray_weights
from .view_transformer import ViewBlock, first_query


class Seen(NamedTuple):
    """What V views show at M samples of R rays, and how they look at them."""

    colors: Tensor  # [R, M, V, 3]
    features: Tensor  # [R, M, V, C]
    differences: Tensor  # [R, M, V, 4] of ray directions
    valid: Tensor  # [R, M, V] bool
    semantic: Tensor | None = None  # [R, M, V, D]


class Shown(NamedTuple):
    """What R rays look like.

    ``matter`` [R, M, D] are semantic features of samples, ``semantic`` [R, D] those of rays; None where not asked for.
    """

    color: Tensor  # [R, 3]
    depth: Tensor  # [R]
    alpha: Tensor  # [R]
    weights: Tensor  # [R, M]
    semantic: Tensor | None = None
    matter: Tensor | None = None


class Aggregation(nn.Module):
    """Co-aggregation and joint rendering (GP-NeRF, section 3.2): radiance and semantics share both attentions.

    With ``rendering`` attention, colours are read from the ray's token and samples weigh by attention, as published.
    With ``density``, a sample's token gives its opacity, colours are those of the views blended by the view attention,
    and samples weigh as they do in volume rendering.
    """

    def __init__(self, config: PerceptionConfig):
        super().__init__()
        self.config = config
        width = config.width
        self.tokens = nn.Sequential(
            nn.Linear(3 + config.color_channels, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.moments = nn.Linear(2 * width, width) if config.rendering == DENSITY else None
        self.views = nn.ModuleList(ViewBlock(width, config.ratio, config.dropout) for _ in range(config.depth))
        self.rays = nn.ModuleList(
            RayBlock(width, config.heads, config.ratio, config.dropout) for _ in range(config.depth)
        )
        self.places = nn.ModuleList(
            nn.Sequential(nn.Linear(width + 6 * (1 + 2 * config.octaves), width), nn.ReLU(), nn.Linear(width, width))
            for _ in range(0, config.depth, 2)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.color = nn.Linear(width, 1 if config.rendering == DENSITY else 3)
        self.adaptor = _adaptor(config.semantic_channels, config.rectified)

    def forward(self, seen: Seen, points: Tensor, directions: Tensor, depths: Tensor, lengths: Tensor) -> Shown:
        """Render rays.

        Args:
            points: samples in the target camera, over the scene's far end, [R, M, 3]. directions: unit, [R, 3].
            depths: z-depth of samples, ascending, [R, M]. lengths: of samples, as shares of the ray, [R, M].
        """
        config = self.config
        with lowered(config.precision, depths.device):
            looks, shares, visible, tokens = self._transformed(seen, points, directions)
        if config.rendering == DENSITY:
            opacity = density_alphas(self.color(tokens)[..., 0], lengths) * seen.valid.any(-1)
            visible, _ = render_weight_from_alpha(opacity)
            blend = looks.mean(-1)
            color = accumulate_along_rays(visible, torch.einsum("rmv,rmvc->rmc", blend, seen.colors))
            shares = visible[:, None]
        else:
            color = self.color(tokens.mean(1))
        alpha = visible.sum(1)
        depth = accumulate_along_rays(visible, depths[..., None])[:, 0] / alpha.clamp_min(1e-6)
        semantic, matter = self._semantics(seen, looks, shares)
        return Shown(color, depth, alpha, visible, semantic, matter)

    def _transformed(self, seen: Seen, points: Tensor, directions: Tensor):
        """What both transformers make of samples; arguments as of :meth:`forward`.

        Returns: attention over views [R, M, V, width] and, with attention rendering, over rays [R, heads, M], and by it
        what samples weigh [R, M]; and the samples' tokens [R, M, width].
        """
        config, shape = self.config, points.shape[:2]
        valid, differences = seen.valid.flatten(0, 1), seen.differences.flatten(0, 1)
        tokens = self.tokens(torch.cat([seen.colors, seen.features], -1).flatten(0, 1)).to(points)
        query = first_query(tokens, valid)
        if self.moments is not None:
            query = query + self.moments(_moments(tokens, valid))
        code = torch.cat([points, directions[:, None].expand_as(points)], -1)
        code = encode(code, config.octaves).flatten(0, 1)
        looks, shares, visible = 0.0, 0.0, None
        for k, (view, ray) in enumerate(zip(self.views, self.rays, strict=True)):
            query, attention = view(query, tokens, differences, valid)
            looks = looks + attention / config.depth
            if k % 2 == 0:
                query = query + self.places[k // 2](torch.cat([query, code], -1))
            along, attention_of_ray = ray(query.view(*shape, -1))
            query = along.flatten(0, 1)
            if config.rendering != DENSITY:
                share, visible = ray_weights(attention_of_ray)
                shares = shares + share / config.depth
        return looks.unflatten(0, shape), shares, visible, self.norm(query).view(*shape, -1)

    def _semantics(self, seen: Seen, looks: Tensor, shares: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Semantic features of rays and samples by the attention over views [R, M, V, width] and rays [R, heads, M]."""
        if seen.semantic is None:
            return None, None
        if not self.config.joint_attention:
            looks, shares = looks.detach(), shares.detach()
        groups = looks.shape[-1]
        matter = (looks[..., None] * seen.semantic.unflatten(-1, (groups, -1))).sum(2).flatten(-2)
        share = shares.transpose(1, 2)[..., None]
        rays = (share * matter.unflatten(-1, (share.shape[2], -1))).sum(1).flatten(1)
        return applied(self.adaptor, self.config.precision, rays), matter


def _adaptor(channels: int, rectified: bool) -> nn.Module:
    """What brings rendered features nearer to those of a picture: a linear layer, the identity at first; with
    ``rectified`` any, and a ReLU, as published."""
    linear = nn.Linear(channels, channels)
    if rectified:
        return nn.Sequential(linear, nn.ReLU())
    nn.init.eye_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _moments(tokens: Tensor, valid: Tensor) -> Tensor:
    """Mean and variance of tokens [P, V, width] over the views that are valid: [P, 2 width] (IBRNet)."""
    share = (valid / valid.sum(1, keepdim=True).clamp_min(1)).to(tokens)[..., None]
    mean = (share * tokens).sum(1)
    return torch.cat([mean, (share * (tokens - mean[:, None]).square()).sum(1)], -1)
