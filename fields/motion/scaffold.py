"""A scaffold of nodes with a path each, as tracks lifted from a video give them."""

from __future__ import annotations

import torch
from torch import Tensor

from .continuation import continued
from .nodes import Nodes
from .rotations import align, from_matrix, to_matrix


class NodeScaffold(Nodes):
    """Nodes with rigid motions at time knots; a Gaussian follows the nodes around its anchor node.

    Args:
        centers: canonical node positions [M, 3].
        knots: ascending times [T].
        positions: node positions at the knots [M, T, 3].
        rotations: node rotations at the knots relative to canonical, quaternions [M, T, 4].
        neighbors: for each node the nodes that a Gaussian anchored there blends, itself first [M, K].
        radius: reach of a node's influence in scene units [M].
        mobility: how many times a step of training each node takes [M]; None: once.
    """

    kind = "scaffold"

    def __init__(self, centers: Tensor, knots: Tensor, positions: Tensor, rotations: Tensor, neighbors: Tensor,
                 radius: Tensor, mobility: Tensor | None = None):
        super().__init__(centers, neighbors, radius)
        self.register_buffer("knots", knots.float())
        self.register_buffer("mobility", torch.ones(len(centers)) if mobility is None else mobility.float())
        self.positions = torch.nn.Parameter(positions.float().clone())
        self.rotations = torch.nn.Parameter(rotations.float().clone())

    @classmethod
    def empty(cls, nodes: int, times: int, blend: int) -> NodeScaffold:
        """A scaffold of the given sizes, to load parameters into."""
        return cls(
            torch.zeros(nodes, 3), torch.linspace(0, 1, times), torch.zeros(nodes, times, 3),
            torch.tensor([1.0, 0, 0, 0]).repeat(nodes, times, 1), torch.zeros(nodes, blend).long(), torch.ones(nodes),
        )

    @classmethod
    def from_trajectories(cls, trajectories: Tensor, times: Tensor, canonical: int, blend: int = 4,
                          things: Tensor | None = None, mobility: Tensor | None = None) -> NodeScaffold:
        """Nodes that follow ``trajectories`` [M, T, 3] given at ``times`` [T]; frame ``canonical`` is at rest.

        Neighbours are those of the same of the ``things`` [M] (None: there is one) that stay close and keep their
        distance; rotations are fitted to them (Kabsch). A node with too few of them is its own neighbour.
        """
        count = len(trajectories)
        blend = min(blend, count)
        gaps = (trajectories[:, None] - trajectories[None]).norm(dim=-1)
        # Being near at one time is not belonging together: a changing distance counts four times.
        apart = gaps.mean(-1) + 4.0 * (gaps - gaps.mean(-1, keepdim=True)).abs().mean(-1)
        if things is not None:
            apart = apart.masked_fill(things[:, None] != things, float("inf"))
        reach = min(max(blend, 8), count)
        nearest = apart.topk(reach, largest=False)
        own = torch.arange(count).to(nearest.indices)[:, None]
        nearest = torch.where(nearest.values.isfinite(), nearest.indices, own)
        local = trajectories[nearest] - trajectories[:, None]
        weights = torch.ones(count, len(times), reach).to(trajectories)
        rest = local[:, :, canonical][:, None].expand(-1, len(times), -1, -1)
        turned = align(rest, local.permute(0, 2, 1, 3), weights)
        spacing = apart.topk(min(3, count), largest=False).values[:, -1]
        typical = spacing[spacing.isfinite()]
        spacing = torch.where(spacing.isfinite(), spacing, typical.median() if len(typical) else 1.0).clamp_min(1e-4)
        return cls(
            trajectories[:, canonical], times, trajectories, continuous(from_matrix(turned)), nearest[:, :blend],
            spacing, mobility,
        )

    def settings(self) -> dict:
        """Arguments of :meth:`empty` that build a scaffold of these sizes."""
        return {"nodes": len(self.centers), "times": len(self.knots), "blend": self.neighbors.shape[1]}

    def nodes_at(self, time: float) -> tuple[Tensor, Tensor]:
        """Node positions [M, 3] (cubic between knots, Hermite) and unit quaternions [M, 4] (blended) at ``time``.

        Before the first knot all is as at that one; after the last, things go on as they moved (:mod:`.continuation`).
        """
        last = len(self.knots) - 1
        if last == 0:
            return self.positions[:, 0], torch.nn.functional.normalize(self.rotations[:, 0], dim=-1)
        if time > float(self.knots[-1]) + 1e-6:
            return continued(self.positions, self.rotations, self.knots, self.neighbors, time)
        time = min(max(float(time), float(self.knots[0])), float(self.knots[-1]))
        k = int(torch.searchsorted(self.knots, time, right=True).clamp(1, last)) - 1
        u = (time - float(self.knots[k])) / float(self.knots[k + 1] - self.knots[k])
        p1, p2 = self.positions[:, k], self.positions[:, k + 1]
        start, end = self._step(k, k), self._step(k + 1, k)
        position = p1 + u * (start + u * (3 * (p2 - p1) - 2 * start - end + u * (2 * (p1 - p2) + start + end)))
        rotation = torch.lerp(self.rotations[:, k], self.rotations[:, k + 1], u)
        return position, torch.nn.functional.normalize(rotation, dim=-1)

    def _step(self, j: int, k: int) -> Tensor:
        """How far the nodes would go [M, 3] from knot ``k`` to the next at the velocity that they have at knot ``j``.

        The velocity is that of the parabola through the knot and both beside it, however far apart these are (frames
        held out leave gaps); at the ends, of the straight line.
        """
        times, places = self.knots, self.positions
        before, after = max(j - 1, 0), min(j + 1, len(times) - 1)
        rise = [(places[:, b] - places[:, a]) / (times[b] - times[a]) for a, b in ((before, j), (j, after)) if a < b]
        share = (times[j] - times[before]) / (times[after] - times[before])
        velocity = torch.lerp(rise[0], rise[1], share) if len(rise) == 2 else rise[0]
        return (times[k + 1] - times[k]) * velocity

    def rigidity(self) -> Tensor:
        """Mean squared change of the neighbours' places in each node's turning frame (as-rigid-as-possible,
        Sorkine & Alexa 2007), in scene units squared, over all knots."""
        near = self.neighbors[:, 1:]
        if near.shape[1] == 0:
            return self.positions.new_zeros(())
        rest = self.centers[near] - self.centers[:, None]
        around = self.positions.index_select(0, near.flatten()).view(*near.shape, *self.positions.shape[1:])
        now = around - self.positions[:, None]
        turned = torch.einsum("mtij,mkj->mkti", to_matrix(self.rotations), rest)
        return (now - turned).square().sum(-1).mean()

    def roughness(self) -> Tensor:
        """Mean squared change of the nodes' steps from knot to knot, in scene units squared.

        Where knots are missing, that of as many usual steps as would lead over the gap.
        """
        if len(self.knots) < 3:
            return self.positions.new_zeros(())
        gaps = self.knots.diff() / self.knots.diff().median()
        steps = self.positions.diff(dim=1) / gaps[:, None]
        return (2 * steps.diff(dim=1) / (gaps[1:] + gaps[:-1])[:, None]).square().sum(-1).mean()


def continuous(q: Tensor) -> Tensor:
    """The same rotations [M, T, 4] with signs chosen so that neighbours in time lie in one hemisphere."""
    steps = (q[:, 1:] * q[:, :-1]).sum(-1) < 0
    flips = torch.cumsum(steps.long(), 1) % 2
    signs = torch.cat([torch.ones_like(q[:, :1, 0]), 1.0 - 2.0 * flips.to(q)], 1)
    return q * signs[..., None]
