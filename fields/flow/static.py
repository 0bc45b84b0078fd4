"""The static network: radiance and semantics of what stands still."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..motion.network import encode
from .blocks import Residual, perceptron
from .dynamic import Radiance, activated

VIEW_OCTAVES = 4


class StaticNetwork(nn.Module):
    """Semantic Flow's static branch.

    Args:
        size: of the code of a place.
        width, blocks: of its trunk.
        features: channels of image features that the first three blocks read; 0: none.
        classes: C.
        density: ``softplus`` or ``relu``.
    """

    def __init__(self, size: int, width: int, blocks: int, features: int, classes: int, density: str):
        super().__init__()
        self.first = nn.Linear(size, width)
        self.blocks = nn.ModuleList(Residual(width) for _ in range(blocks))
        self.reads = nn.ModuleList(nn.Linear(features, width) for _ in range(min(3, blocks) if features else 0))
        self.opacity, self.bottleneck = nn.Linear(width, 1), nn.Linear(width, width)
        self.color = perceptron(width + 3 * (1 + 2 * VIEW_OCTAVES), width // 2, 3)
        self.semantics = perceptron(width, width // 2, classes)
        self.kind = density

    def forward(self, embedded: Tensor, directions: Tensor, features: Tensor | None = None,
                noise: float = 0.0) -> Radiance:
        """Colour, density and logits of P places: codes [P, size], unit viewing directions [P, 3], features [P, F]."""
        h = self.trunk(embedded, features)
        seen = torch.cat([self.bottleneck(h), encode(directions, VIEW_OCTAVES)], -1)
        density = activated(self.opacity(h)[:, 0], self.kind, noise)
        return Radiance(self.color(seen).sigmoid(), density, None, self.semantics(torch.relu(h)))

    def trunk(self, embedded: Tensor, features: Tensor | None = None) -> Tensor:
        """What is known of P places, [P, width]."""
        h = torch.relu(self.first(embedded))
        for k, block in enumerate(self.blocks):
            if k < len(self.reads):
                h = h + self.reads[k](features)
            h = block(h)
        return h

    def densities(self, embedded: Tensor, features: Tensor | None = None) -> Tensor:
        """Densities [P] alone."""
        return activated(self.opacity(self.trunk(embedded, features))[:, 0], self.kind)
