"""Layers that both transformers are made of."""

from __future__ import annotations

from torch import Tensor, nn


class FeedForward(nn.Module):
    """``x + W2 relu(W1 norm(x))`` of tokens [..., width], with a hidden width ``ratio`` times as large."""

    def __init__(self, width: int, ratio: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.layers = nn.Sequential(
            nn.Linear(width, ratio * width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(ratio * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(self.norm(x))
