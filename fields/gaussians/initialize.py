"""The first Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor

from ...scenes import PointCloud, Scene
from ..motion import NodeScaffold
from .color import SH_C0
from .field import GaussianField


def from_points(points: PointCloud, degree: int = 3, motion: torch.nn.Module | None = None,
                anchors: Tensor | None = None, background=(0.0, 0.0, 0.0), opacity: float = 0.1,
                lights: int = 0) -> GaussianField:
    """Isotropic Gaussians at ``points``, sized by their neighbours, of the points' colours (3DGS, section 5.1)."""
    count = len(points)
    field = GaussianField(
        means=points.positions,
        log_scales=torch.zeros(count, 3),
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        opacity_logits=torch.logit(torch.full((count,), opacity)),
        sh_dc=((points.colors - 0.5) / SH_C0)[:, None],
        sh_rest=torch.zeros(count, (degree + 1) ** 2 - 1, 3),
        light=torch.zeros(count, lights),
        anchors=anchors,
        motion=motion,
        background=torch.tensor(background),
    )
    field.initial_scales()
    return field


def anchor(points: PointCloud, scaffold: NodeScaffold) -> tuple[Tensor, Tensor]:
    """Canonical positions [P, 3] and anchor nodes [P] of points; those without a time stand still (-1).

    A moving point is anchored to the node nearest to it at its own time.
    """
    positions = points.positions.clone()
    anchors = torch.full((len(points),), -1)
    if points.times is None:
        return positions, anchors
    for time in points.times[torch.isfinite(points.times)].unique().tolist():
        chosen = (points.times == time).nonzero()[:, 0]
        nodes, _ = scaffold.nodes_at(time)
        anchors[chosen] = torch.cdist(points.positions[chosen], nodes).argmin(-1)
        positions[chosen] = scaffold.rest(points.positions[chosen], anchors[chosen], time).detach()
    return positions, anchors


def random_points(scene: Scene, count: int = 100_000, half: float = 1.3, seed: int = 0) -> PointCloud:
    """Uniform points in [-half, half]^3 of near-grey random colours, as D-NeRF scenes are started (digest 3.6)."""
    generator = torch.Generator().manual_seed(seed)
    positions = (2 * torch.rand(count, 3, generator=generator) - 1) * half
    return PointCloud(positions, 0.5 + (torch.rand(count, 3, generator=generator) / 255.0 - 0.5 / 255) * SH_C0)
