"""Nodes on the trajectories that a video's tracks were lifted to."""

from __future__ import annotations

import torch

from ...scenes import Scene
from .nodes import farthest
from .scaffold import NodeScaffold

RIGID_MOBILITY = 0.05  # of nodes on rigid bodies: their motion is known better than pictures tell a node alone
BENT_MOBILITY = 3.0  # of all others: their depth was guessed, and pictures tell more of it


def moving_nodes(scene: Scene, count: int = 300) -> NodeScaffold | None:
    """A scaffold on the 3D tracks lifted from the video; None when nothing moves."""
    from ...scenes.motion.tracks import motion_scaffold

    lifted = motion_scaffold(scene)
    if lifted is None or len(lifted.positions) < 2:
        return None
    canonical = int(lifted.visible.sum(0).argmax())
    chosen = farthest(lifted.positions.flatten(1), count)
    mobility = torch.where(lifted.rigid[chosen], RIGID_MOBILITY, BENT_MOBILITY)
    return NodeScaffold.from_trajectories(
        lifted.positions[chosen], lifted.times, canonical, things=lifted.things[chosen], mobility=mobility
    )
