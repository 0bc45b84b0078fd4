"""The field-aggregation transformer: one token of a point from what all views show there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import FeedForward

HIDDEN = 8  # of the maps from ray differences, and by which the width of scores is divided
OFF = -1e9  # score of a view that does not see the point


class ViewBlock(nn.Module):
    """Subtraction attention over views (GNT's view transformer; GP-NeRF, eq. 4)."""

    def __init__(self, width: int, ratio: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.place = nn.Sequential(nn.Linear(4, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, width))
        hidden = max(HIDDEN, width // HIDDEN)
        self.score = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.out = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))
        self.forward_part = FeedForward(width, ratio, dropout)

    def forward(self, query: Tensor, tokens: Tensor, differences: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of points and the attention by which they came about.

        Args:
            query: [P, width]. tokens: of what the views show, [P, V, width].
            differences: of ray directions, [P, V, 4]. valid: [P, V] bool.

        Returns:
            [P, width], and attention [P, V, width], whose sum over views is 1, or 0 where no view is valid.
        """
        key, value = self.key_value(tokens).chunk(2, -1)
        place = self.place(differences)
        scores = self.score(key + place - self.query(self.norm(query))[:, None]).to(differences)
        attention = scores.masked_fill(~valid[..., None], OFF).softmax(1) * valid[..., None]
        gathered = (attention * (value + place)).sum(1)
        return self.forward_part(query + self.out(gathered)), attention


def first_query(tokens: Tensor, valid: Tensor) -> Tensor:
    """The maximum over the views that see a point, [P, width]; 0 where none does."""
    largest = tokens.masked_fill(~valid[..., None], OFF).amax(1)
    return torch.where(valid.any(1)[:, None], largest, 0.0)
