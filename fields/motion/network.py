"""The deformation network of Deformable 3D Gaussians, as DGD uses it (section 3.1 of the paper)."""

from __future__ import annotations

import torch
from torch import Tensor


def encode(x: Tensor, frequencies: int) -> Tensor:
    """[x, sin(2^k x), cos(2^k x)] for k below ``frequencies``: [..., C] to [..., C (1 + 2 L)] (NeRF, eq. 4, no pi)."""
    scaled = x[..., None] * 2.0 ** torch.arange(frequencies, dtype=x.dtype, device=x.device)
    waves = torch.cat([scaled.sin(), scaled.cos()], -1).flatten(-2)
    return torch.cat([x, waves], -1)


class DeformationNetwork(torch.nn.Module):
    """An MLP from canonical position and time to offsets of position, quaternion and scale.

    The position enters without gradient (digest 3.2). The three heads start at zero, so a fresh network
    is the identity.

    Args:
        depth, width: hidden layers; the encoded input enters again after the middle layer.
        space_frequencies, time_frequencies: of the positional encodings.
        time_network: first map the encoded time to 30 numbers by a small network (synthetic scenes).
    """

    kind = "network"

    def __init__(self, depth: int = 8, width: int = 256, space_frequencies: int = 10,
                 time_frequencies: int = 10, time_network: bool = False):
        super().__init__()
        self.depth, self.width = depth, width
        self.space_frequencies, self.time_frequencies = space_frequencies, time_frequencies
        self.time_network = None
        time_size = 1 + 2 * time_frequencies
        if time_network:
            self.time_network = torch.nn.Sequential(
                torch.nn.Linear(time_size, width), torch.nn.ReLU(), torch.nn.Linear(width, 30)
            )
            time_size = 30
        size = 3 * (1 + 2 * space_frequencies) + time_size
        self.skip = depth // 2
        self.layers = torch.nn.ModuleList(
            torch.nn.Linear(size if k == 0 else width + (size if k == self.skip + 1 else 0), width)
            for k in range(depth)
        )
        self.heads = torch.nn.Linear(width, 10)
        torch.nn.init.zeros_(self.heads.weight)
        torch.nn.init.zeros_(self.heads.bias)

    def settings(self) -> dict:
        """Arguments that build this network again."""
        return {
            "depth": self.depth, "width": self.width, "space_frequencies": self.space_frequencies,
            "time_frequencies": self.time_frequencies, "time_network": self.time_network is not None,
        }

    def forward(self, means: Tensor, time: float) -> tuple[Tensor, Tensor, Tensor]:
        """Offsets of position [N, 3], quaternion [N, 4] and scale [N, 3] for canonical ``means`` [N, 3]."""
        code = encode(means.new_tensor([float(time)]), self.time_frequencies)
        if self.time_network is not None:
            code = self.time_network(code)
        inputs = torch.cat([encode(means.detach(), self.space_frequencies), code.expand(len(means), -1)], -1)
        hidden = inputs
        for k, layer in enumerate(self.layers):
            hidden = torch.relu(layer(hidden))
            if k == self.skip:
                hidden = torch.cat([inputs, hidden], -1)
        if self.depth == self.skip + 1:
            hidden = hidden[..., -self.width:]
        return self.heads(hidden).split([3, 4, 3], -1)

    def pose(self, means: Tensor, quats: Tensor, scales: Tensor, anchors: Tensor, time: float):
        """Means [N, 3], quaternions [N, 4] and scales [N, 3] at ``time``; scales are kept positive."""
        dx, dq, ds = self(means, time)
        quats = torch.nn.functional.normalize(quats, dim=-1) + dq
        return means + dx, quats, (scales + ds).clamp_min(1e-6)
