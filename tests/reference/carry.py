"""Points carried by Gaussians, point by point in plain torch: any dtype, gradients by autograd. The oracle of
``kernels.advect.carry``: linear blend skinning by the nearest, after one reweighting of those that move unlike the
others."""

from __future__ import annotations

import torch
from torch import Tensor

from .splat import rotations


def carry(points: Tensor, means_a: Tensor, quats_a: Tensor, means_b: Tensor, quats_b: Tensor, neighbors: int) -> Tensor:
    """Where points [P, 3] go."""
    moved = []
    for x in points:
        distances = (x - means_a).norm(dim=1)
        nearest = distances.detach().argsort(stable=True)[:neighbors]
        candidates = torch.stack(
            [
                rotations(quats_b[i]) @ rotations(quats_a[i]).T @ (x - means_a[i]) + means_b[i]
                for i in nearest
            ]
        )
        with torch.no_grad():
            squares = distances[nearest] ** 2
            by_distance = torch.exp(-squares / (8 * squares[0]))
            steps = candidates - x
            mean = (by_distance[:, None] * steps).sum(0) / by_distance.sum()
            unlike = ((steps - mean) ** 2).sum(1)
            weights = by_distance / (1 + unlike / unlike.sort().values[(len(unlike) - 1) // 2])
            weights = weights / weights.sum()
        moved.append((weights[:, None] * candidates).sum(0))
    return torch.stack(moved)
