"""Layers that the networks of a flow field are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """``h + fc1(relu(fc0(relu(h))))``, of one width."""

    def __init__(self, width: int):
        super().__init__()
        self.fc0, self.fc1 = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.fc1(torch.relu(self.fc0(torch.relu(h))))


class Attention(nn.Module):
    """One layer of self-attention over tokens [..., K, width], with residual and layer norm, no feed-forward part.

    ``known`` [..., K] bool says which tokens may be looked at.
    """

    def __init__(self, width: int = 64, heads: int = 4, size: int = 4):
        super().__init__()
        self.heads, self.size = heads, size
        self.queries, self.keys, self.values = (nn.Linear(width, heads * size, bias=False) for _ in range(3))
        self.merge = nn.Linear(heads * size, width, bias=False)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, tokens: Tensor, known: Tensor | None = None) -> Tensor:
        def split(layer: nn.Linear) -> Tensor:  # [..., heads, K, size]
            return layer(tokens).unflatten(-1, (self.heads, self.size)).transpose(-2, -3)

        scores = split(self.queries) @ split(self.keys).mT / self.size**0.5
        if known is not None:
            scores = scores.masked_fill(~known[..., None, None, :], -1e9)
        seen = (scores.softmax(-1) @ split(self.values)).transpose(-2, -3).flatten(-2)
        return self.norm(tokens + self.merge(seen))


def perceptron(*sizes: int) -> nn.Sequential:
    """Linear layers of these sizes with rectifiers between."""
    layers = []
    for before, after in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
