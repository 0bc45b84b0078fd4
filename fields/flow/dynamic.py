"""The dynamic network: velocity, radiance, blending and semantics of a place at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .blocks import Residual, perceptron


class Radiance(NamedTuple):
    """What a network says of P places."""

    color: Tensor  # [P, 3] in 0..1
    density: Tensor  # [P] per half size of the scene
    blend: Tensor | None = None  # [P] share of the dynamic field
    logits: Tensor | None = None  # [P, C]


class DynamicNetwork(nn.Module):
    """Semantic Flow's dynamic branch; its trunk is shared by velocity and radiance.

    Args:
        size: of the code of place and time.
        width, blocks: of the trunk and the radiance behind it.
        latent: of the clip's global vector; 0: none.
        features: channels of image features that the radiance reads; 0: none.
        flow: numbers of a flow code, which the semantics read.
        position: whether these also read the trunk.
        classes: C.
        density: ``softplus`` or ``relu``.
    """

    def __init__(self, size: int, width: int, blocks: int, latent: int, features: int, flow: int, position: bool,
                 classes: int, density: str):
        super().__init__()
        self.first = nn.Linear(size, width)
        self.conditions = nn.ModuleList(nn.Linear(width + latent, width) for _ in range(2 if latent else 0))
        self.trunk = Residual(width)
        self.speed = nn.Linear(width, 3)
        self.blocks = nn.ModuleList(Residual(width) for _ in range(blocks))
        self.reads = nn.ModuleList(nn.Linear(features, width) for _ in range(blocks if features else 0))
        self.neighbours = nn.Linear(features, width) if features else None
        self.merge = nn.Linear(2 * width, width) if features else None
        self.radiance, self.blending = nn.Linear(width, 4), nn.Linear(width, 1)
        self.position, self.density = position, density
        self.semantics = perceptron(flow + (width if position else 0), 128, 64, classes)
        # A fresh field stands still.
        nn.init.uniform_(self.speed.weight, -1e-3, 1e-3)
        nn.init.zeros_(self.speed.bias)

    def code(self, embedded: Tensor, latent: Tensor | None) -> Tensor:
        """What is known of P places and times, [P, width], of their code [P, size] and the clip's ``latent`` [L]."""
        h = torch.relu(self.first(embedded))
        for layer in self.conditions:
            h = layer(torch.cat([h, latent.expand(len(h), -1)], -1))
        return self.trunk(h)

    def velocity(self, code: Tensor) -> Tensor:
        """Of the matter at P places, [P, 3] in -1..1 of the fastest."""
        return torch.tanh(self.speed(code))

    def radiate(self, code: Tensor, features: Tensor | None = None, noise: float = 0.0) -> tuple[Tensor, Radiance]:
        """The radiance's own code [P, width], and colour, density and blend.

        ``features`` [P, K, F]: of the flow points, the point's own first.
        """
        h = code
        for k, block in enumerate(self.blocks):
            if self.reads:
                own = self.reads[k](features[:, 0])
                if k == 0:
                    around = self.neighbours(features[:, 1:]).mean(1) if features.shape[1] > 1 else 0 * own
                    own = self.merge(torch.cat([own, around], -1))
                h = h + own
            h = block(h)
        raw = self.radiance(h)
        return h, Radiance(
            raw[:, :3].sigmoid(), activated(raw[:, 3], self.density, noise), self.blending(h)[:, 0].sigmoid()
        )

    def classify(self, flow_code: Tensor, h: Tensor) -> Tensor:
        """Class logits [P, C] of flow codes [P, F] and the radiance's codes [P, width]."""
        return self.semantics(torch.cat([flow_code, h], -1) if self.position else flow_code)


def activated(raw: Tensor, kind: str, noise: float = 0.0) -> Tensor:
    """Densities of what a network says."""
    if kind == "relu":
        return torch.relu(raw + noise * torch.randn_like(raw) if noise else raw)
    return torch.nn.functional.softplus(raw - 1.0)
