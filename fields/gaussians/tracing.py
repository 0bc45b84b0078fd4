"""Free points carried by the Gaussians around them."""

from __future__ import annotations

import torch
from torch import Tensor

from ...kernels.neighbors import nearest
from ..motion.rotations import conjugate, multiply, to_matrix
from .state import GaussianState

NEIGHBORS = 8


def carry(points: Tensor, now: GaussianState, then: GaussianState) -> Tensor:
    """Points [P, 3] that rest on the Gaussians of ``now``, moved to ``then`` (the same Gaussians, posed again).

    Each point keeps its place in the turning frames of its nearest Gaussians that are solid enough to be seen,
    blended by distance; neighbours that move unlike the nearest ones (another object passing by) are left out.
    Exact when the neighbourhood moves rigidly.
    """
    solid = (now.opacities > 0.3).nonzero()[:, 0]
    if len(points) == 0 or len(solid) == 0:
        return points.clone()
    count = min(NEIGHBORS, len(solid))
    distance, ids = nearest(now.means[solid], count, queries=points)
    ids = solid[ids]
    turn = multiply(unit(then.quats), conjugate(unit(now.quats)))
    R = to_matrix(turn)[ids]
    offset = points[:, None] - now.means[ids]
    moved = (R @ offset[..., None])[..., 0] + then.means[ids]
    reach = distance[:, :1].clamp_min(1e-6) * 2.0
    weights = torch.exp(-0.5 * (distance / reach).square())
    step = moved - points[:, None]
    center = (weights[..., None] * step).sum(1) / weights.sum(1, keepdim=True)
    # One reweighting round of a robust mean: neighbours of another body have another step.
    spread = (step - center[:, None]).norm(dim=-1)
    typical = spread.median(-1, keepdim=True).values.clamp_min(1e-6)
    weights = weights / (1.0 + (spread / typical).square())
    return points + (weights[..., None] * step).sum(1) / weights.sum(1, keepdim=True)


def unit(q: Tensor) -> Tensor:
    """Quaternions scaled to unit length."""
    return torch.nn.functional.normalize(q, dim=-1)
