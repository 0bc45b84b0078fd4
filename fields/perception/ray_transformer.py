"""The ray-aggregation transformer: samples of a ray look at one another."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import FeedForward

THIN = 2.0


class RayBlock(nn.Module):
    """Self-attention over the samples of a ray (GP-NeRF, eq. 6)."""

    def __init__(self, width: int, heads: int, ratio: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))
        self.forward_part = FeedForward(width, ratio, dropout)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [R, M, width] of samples, and the attention [R, heads, M, M] from each sample to each."""
        packed = self.query_key_value(self.norm(tokens)).unflatten(-1, (3, self.heads, -1))
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        attention = (query @ key.transpose(-1, -2) * key.shape[-1] ** -0.5).to(tokens).softmax(-1)
        gathered = (attention @ value).transpose(1, 2).flatten(-2)
        return self.forward_part(tokens + self.out(gathered)), attention


def ray_weights(attention: Tensor) -> tuple[Tensor, Tensor]:
    """What a ray's samples weigh by their ``attention`` [R, heads, M, M].

    Returns:
        For each head the mean of what all samples look at, [R, heads, M]; and what the first sample looks at, over all
        heads, [R, M]: the nearest to a visibility that attention has (GNT, section 3.3).
    """
    return attention.mean(2), attention[:, :, 0].mean(1)


def density_alphas(raw: Tensor, lengths: Tensor) -> Tensor:
    """Opacities of samples from unbounded densities ``raw`` [R, M] and ``lengths`` [R, M], in mean lengths.

    What a fresh network says is thin, so that a ray learns from all of its samples.
    """
    return 1 - torch.exp(-nn.functional.softplus(10 * raw - THIN) * lengths)
