"""Sparse nodes that carry the Gaussians around them.

A rigid motion for each node, blended onto its surroundings (linear blend skinning; embedded deformation, Sumner et al.
2007; used for Gaussians by SC-GS, Huang et al. 2024), costs a few hundred poses instead of one per Gaussian, and local
rigidity is a prior that a single moving camera needs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .rotations import multiply, to_matrix


class Nodes(torch.nn.Module):
    """What carries Gaussians by nodes, however these move; :meth:`nodes_at` tells how.

    Args:
        centers: canonical node positions [M, 3].
        neighbors: for each node the nodes that a Gaussian anchored there blends, itself first [M, K].
        radius: reach of a node's influence in scene units [M].
    """

    def __init__(self, centers: Tensor, neighbors: Tensor, radius: Tensor):
        super().__init__()
        self.register_buffer("centers", centers.float().clone())
        self.register_buffer("neighbors", neighbors.long())
        self.register_buffer("radius", radius.float())

    def nodes_at(self, time: float) -> tuple[Tensor, Tensor]:
        """Node positions [M, 3] and unit quaternions [M, 4], relative to canonical, at ``time``."""
        raise NotImplementedError

    def blending(self, means: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes [N, K] that carry canonical ``means`` [N, 3] anchored at ``anchors`` [N], and their weights."""
        nodes = self.neighbors[anchors]
        distance = (means[:, None] - self.centers[nodes]).square().sum(-1)
        weights = torch.softmax(-0.5 * distance / self.radius[nodes].square(), -1)
        return nodes, weights

    def pose(self, means: Tensor, quats: Tensor, scales: Tensor, anchors: Tensor, time: float):
        """Means [N, 3], quaternions [N, 4] and scales [N, 3] at ``time``; anchor -1 stands still."""
        moving = (anchors >= 0).nonzero()[:, 0]
        if len(moving) == 0:
            return means, quats, scales
        carried, turned = self.carry(means[moving], quats[moving], anchors[moving], time)
        return means.index_copy(0, moving, carried), quats.index_copy(0, moving, turned), scales

    def carry(self, means: Tensor, quats: Tensor, anchors: Tensor, time: float) -> tuple[Tensor, Tensor]:
        """Canonical means [N, 3] and quaternions [N, 4], anchored at nodes [N], carried to ``time``."""
        nodes, weights = self.blending(means.detach(), anchors)
        position, rotation = self.nodes_at(time)
        R = to_matrix(rotation)
        shift = position - (R @ self.centers[..., None])[..., 0]
        motion = torch.cat([R.flatten(1), shift, rotation], -1)
        # index_select, since the adjoint of plain indexing adds in no fixed order on several cores.
        around = motion.index_select(0, nodes.flatten()).view(*nodes.shape, -1)
        blended = (weights[..., None] * around).sum(1)
        carried = (blended[:, :9].reshape(-1, 3, 3) @ means[..., None])[..., 0] + blended[:, 9:12]
        return carried, multiply(torch.nn.functional.normalize(blended[:, 12:], dim=-1), quats)

    def rest(self, points: Tensor, anchors: Tensor, time: float) -> Tensor:
        """Canonical positions of ``points`` [N, 3] seen at ``time`` and anchored at nodes [N] (inverse of carry)."""
        position, rotation = self.nodes_at(time)
        local = points - position[anchors]
        return (to_matrix(rotation)[anchors].transpose(-1, -2) @ local[..., None])[..., 0] + self.centers[anchors]


def farthest(points: Tensor, count: int) -> Tensor:
    """Indices of ``count`` points [N, d] spread over all of them (farthest point sampling)."""
    if len(points) <= count:
        return torch.arange(len(points))
    chosen = [0]
    distance = (points - points[0]).square().sum(-1)
    for _ in range(count - 1):
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).square().sum(-1))
    return torch.tensor(chosen)
