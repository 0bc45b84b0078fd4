"""The deformation network evaluated at sparse nodes only, which carry the Gaussians (SC-GS, Huang et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from .network import DeformationNetwork
from .nodes import Nodes, farthest

NODES = 512  # as SC-GS takes
BLEND = 6  # of them carry a Gaussian


class NodeNetwork(Nodes):
    """Nodes whose rigid motions a network gives; its cost does not grow with the number of Gaussians.

    The network is a function of canonical space, so that nodes can be laid anew (:meth:`settle`) over Gaussians that
    have found their places, and what it has learned stays.

    Args:
        nodes, blend: how many nodes there are, and how many carry a Gaussian.
        network: settings of :class:`DeformationNetwork`; its offsets of scale are not used.
    """

    kind = "nodes"

    def __init__(self, nodes: int = NODES, blend: int = BLEND, **network):
        super().__init__(torch.zeros(nodes, 3), torch.zeros(nodes, blend), torch.ones(nodes))
        self.network = DeformationNetwork(**network)

    def settings(self) -> dict:
        """Arguments that build this motion again."""
        return {"nodes": len(self.centers), "blend": self.neighbors.shape[1], **self.network.settings()}

    @torch.no_grad()
    def settle(self, means: Tensor) -> Tensor:
        """Lay the nodes over canonical ``means`` [N, 3], spread out; returns each one's anchor node [N]."""
        self.centers = means[farthest(means, len(self.centers))].clone()
        blend = min(self.neighbors.shape[1], len(self.centers))
        nearest = torch.cdist(self.centers, self.centers).topk(blend, largest=False)
        self.neighbors, self.radius = nearest.indices, nearest.values[:, :3].amax(-1).clamp_min(1e-4)
        return torch.cdist(means, self.centers).argmin(-1)

    def nodes_at(self, time: float) -> tuple[Tensor, Tensor]:
        """Node positions [M, 3] and unit quaternions [M, 4], relative to canonical, at ``time``."""
        moved, turned, _ = self.network(self.centers, time)
        identity = turned.new_tensor([1.0, 0, 0, 0])
        return self.centers + moved, torch.nn.functional.normalize(identity + turned, dim=-1)
