"""All settings of a fit, and the presets that set them together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ...scenes import BadInput
from ..settings import Settings


@dataclass(frozen=True)
class FitConfig(Settings):
    """Settings of a dynamic semantic Gaussian field. Lengths of schedules are in iterations."""

    preset: str = "fast"
    seed: int = 0
    iterations: int = 4000
    checkpoint_every: int = 500
    log_every: int = 20
    # Gaussians
    initial_points: int = 12_000  # from the video, where the scene brings no points
    max_gaussians: int = 24_000
    sh_degree: int = 1
    sh_every: int = 1000  # one more degree
    # light
    lights: int = 0  # times at which each Gaussian has a brightness of its own; 0: always the same
    light_rate: float = 0.01
    light_weight: float = 0.0  # of its mean absolute change
    # motion
    motion: str = "scaffold"  # scaffold, network, nodes, still
    warmup: int = 0  # iterations with the motion switched off
    network_depth: int = 8
    network_width: int = 256
    time_frequencies: int = 10
    time_network: bool = False
    time_noise: float = 0.0  # annealed time noise, in frames at the start (AST)
    time_noise_until: int = 20_000
    rigidity: float = 0.0  # weight of the scaffold's as-rigid-as-possible term
    smoothness: float = 0.0  # weight of the scaffold's second differences
    moving_classes: tuple[str, ...] = ()  # whose labels take the place of motion masks
    moving: float = 0.0  # weight of: what moves shows where the motion masks say, and nowhere else
    flow: float = 0.0  # weight of the optical flow loss
    flow_until: int = 0
    # learning rates
    position_rate: float = 1.6e-4
    position_rate_end: float = 1.6e-6
    position_scale: float = 0.0  # multiplies these and the nodes'; 0: the scene's extent
    position_until: int = 30_000
    node_rate: float = 6e-4  # of where a scaffold's nodes are
    node_rate_end: float = 3e-5
    motion_rate: float = 8e-4  # of a network, or of how the nodes turn
    motion_rate_end: float = 1.6e-6
    color_rate: float = 2.5e-3
    opacity_rate: float = 0.05
    scale_rate: float = 5e-3
    rotation_rate: float = 1e-3
    feature_rate: float = 2.5e-3
    pose_rate: float = 0.0  # camera refinement
    # loss
    ssim: float = 0.2
    # density control
    densify_from: int = 500
    densify_until: int = 15_000
    densify_every: int = 100
    densify_gradient: float = 2e-4
    absolute_gradient: bool = False
    dense_share: float = 0.01  # of the extent: clone below, split above
    prune_opacity: float = 0.005
    prune_large_after: int = 3000  # then also prune beyond 0.1 extent
    largest_share: float = 0.0  # of the distance to the nearest camera that a scale may have; 0: any
    opacity_reset_every: int = 3000
    # semantics
    semantics: str = "lift"  # lift, distill, none
    teacher: str = "dinov2"
    feature_dim: int = 32  # PCA code; 0 keeps the teacher's dimension
    feature_from: int = 3000
    feature_weight: float = 0.5
    lift_sweeps: int = 10

    CHOICES = {"motion": ("scaffold", "network", "nodes", "still"), "semantics": ("lift", "distill", "none")}

    def without_following(self) -> FitConfig:
        """What to change where a network learns motion from nothing, since nothing is followed from frame to frame.

        First Gaussians, which lie anywhere, find their places before they move, and are made more for longer.
        """
        return dataclasses.replace(
            self, warmup=self.iterations // 8, densify_until=7 * self.iterations // 10,
            densify_gradient=min(self.densify_gradient, 2e-4),
        )


FAST = FitConfig(
    preset="fast", iterations=1500, motion="scaffold", rigidity=0.5, smoothness=0.1, sh_degree=0,
    position_until=1500, motion_rate=2e-3, motion_rate_end=1e-4, densify_from=200, densify_until=900,
    densify_gradient=4e-4, absolute_gradient=True, opacity_reset_every=0, largest_share=0.1, sh_every=500,
    feature_from=1000, lights=16, light_weight=0.2,
)

PRESETS = {
    "tiny": dataclasses.replace(
        FAST, preset="tiny", iterations=600, initial_points=4000, max_gaussians=6000, densify_from=100,
        densify_until=400, position_until=600, checkpoint_every=200, feature_from=200,
        prune_large_after=300, lift_sweeps=4,
    ),
    "fast": FAST,
    "paper": FitConfig(
        preset="paper", iterations=40_000, motion="network", warmup=3000, sh_degree=3, max_gaussians=2_000_000,
        initial_points=100_000, position_scale=5.0, time_noise=0.1, scale_rate=5e-3, semantics="distill",
        feature_from=3000, feature_dim=0, checkpoint_every=1000,
    ),
    "release": FitConfig(
        preset="release", iterations=40_000, motion="network", warmup=3000, sh_degree=3, max_gaussians=2_000_000,
        initial_points=100_000, position_scale=5.0, time_noise=0.1, scale_rate=5e-3, semantics="distill",
        feature_from=30_000, feature_dim=0, checkpoint_every=1000,
    ),
}


def preset(name: str) -> FitConfig:
    """The settings of a preset by name; BadInput names the known ones."""
    if name not in PRESETS:
        raise BadInput(f"preset {name!r}: expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
