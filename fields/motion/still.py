"""No motion: the static baseline, and the warm-up."""

from __future__ import annotations

import torch
from torch import Tensor


class Still(torch.nn.Module):
    """Leaves everything where it is."""

    kind = "still"

    def settings(self) -> dict:
        """Arguments that build this motion again."""
        return {}

    def pose(self, means: Tensor, quats: Tensor, scales: Tensor, anchors: Tensor, time: float):
        """Means [N, 3], quaternions [N, 4] and scales [N, 3], unchanged."""
        return means, quats, scales
