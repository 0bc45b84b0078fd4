"""Which Gaussians belong together, as far as places, motion and colours tell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...kernels.neighbors import nearest
from .color import mean_color
from .state import GaussianState

COMPANIONS = 12  # nearest Gaussians that are looked at
WIDTH = 8  # of them say how far apart Gaussians are around here
COLORS = 0.15  # standard deviation of the colours, 0..1, of what belongs together
TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)  # at which Gaussians must be near


@torch.no_grad()
def companions(states: Sequence[GaussianState]) -> tuple[Tensor, Tensor]:
    """For each Gaussian its nearest ones and how surely they belong to the same thing: ids [N, k], weights 0..1 [N, k].

    Certain is what stays near at all times that ``states`` are of, for what moves apart is not one thing, and is of
    like colour, for things mostly end where colours change (a bilateral weight, Tomasi and Manduchi 1998).
    """
    means = states[0].means
    distances, ids = nearest(means, min(COMPANIONS, len(means) - 1))
    near = 2 * distances[:, :WIDTH].mean(-1, keepdim=True).clamp_min(1e-9)
    apart = torch.stack([(s.means[ids] - s.means[:, None]).norm(dim=-1) for s in states]).amax(0)
    colors = mean_color(states[0].sh)
    unlike = (colors[ids] - colors[:, None]).norm(dim=-1)
    return ids, torch.exp(-0.5 * ((apart / near).square() + (unlike / COLORS).square()))


def symmetric(ids: Tensor, weights: Tensor) -> Tensor:
    """Weights [N, k] of neighbours ``ids`` [N, k] as a sparse symmetric matrix [N, N], half from either end."""
    count, k = ids.shape
    rows, columns = torch.arange(count, device=ids.device).repeat_interleave(k), ids.flatten()
    both = torch.stack([torch.cat([rows, columns]), torch.cat([columns, rows])])
    values = weights.flatten().repeat(2) / 2
    return torch.sparse_coo_tensor(both, values, (count, count), check_invariants=False).coalesce()
