"""All settings of a flow field and its training, and the presets that set them together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ...scenes import BadInput
from ..sampling import SPACINGS
from ..settings import Settings

INTEGRATORS = ("euler", "midpoint", "rk4", "dopri5")  # of kernels.advect, which is not imported for its names
LEARNED, NONE = "learned", "none"  # encoders: a small one, trained with the field; no features


@dataclass(frozen=True)
class FlowConfig(Settings):
    """Settings of a flow field (Semantic Flow). Schedules are in iterations, weights multiply their loss.

    Where the paper's released code departs from the method, the method is built (world-space flow points, branches kept
    apart, static logits after the blending channel); ``compat_neighbour_ndc`` has the most telling of these defects.
    """

    preset: str = "fast"
    seed: int = 0
    checkpoint_every: int = 500
    log_every: int = 20
    moving_classes: tuple[str, ...] = ()  # whose labels take the place of motion masks
    # what the networks are told
    encoding: str = "planes"  # planes of learned features, or waves of position and time
    plane_resolution: int = 256
    plane_channels: int = 8
    plane_levels: int = 4
    moments: int = 24  # cells of the planes along time
    octaves: int = 10  # of the waves
    encoder: str = "classical"  # of flow features: a name, local folder or hub id; learned (with the field); none
    encoder_frames: str = "all"  # whose pictures the encoder sees: all, or seen (those that may be learned from)
    encoder_channels: int = 32  # compressed to these; 0: as they are
    pseudo_labels: float = 0.97  # frames without labels have those that features tell as surely; 0: none
    latent: int = 0  # of the whole clip, given to the dynamic network; 0: none
    # networks
    width: int = 64
    blocks: int = 1
    static_width: int = 64
    static_blocks: int = 1
    dynamic_features: bool = False  # the dynamic radiance reads features, as in MonoNeRF
    static_features: bool = False  # so does the static
    random_static_frame: bool = True  # the frame whose features the static field reads while it trains alone
    position_semantics: bool = False  # the semantic head also sees the code of position and time
    density: str = "softplus"  # or relu, with noise in training
    # flow
    method: str = "euler"  # of integration: euler, midpoint, rk4, dopri5
    steps: int = 1  # between frames
    flow_points: int = 3  # frames whose features a point sees along its trajectory; odd
    flow_stride: int = 3  # frames between them
    flow_share: float = 0.2  # of all samples, those that weigh most, whose trajectories are followed
    fastest: float = 0.1  # half sizes of the scene that anything crosses between two frames
    displacement: bool = True  # tokens carry the displacement along the trajectory
    absolute: bool = False  # tokens carry position and time instead (the paper's completion)
    attention: bool = True  # over the flow points; False: the point's own feature alone
    ray_attention: bool = False  # across the samples of a ray
    token_width: int = 64
    static_field: bool = True
    density_prior: str = "opacity"  # opacity, mean or first: how logits of samples become a pixel's
    compat_neighbour_ndc: bool = False
    # sampling
    spacing: str = "inverse"  # of depths: ndc, inverse, log, linear
    samples: int = 20
    proposals: int = 24  # samples of densities alone, of which the others are drawn; 0: none
    static_rays: int = 128
    dynamic_rays: int = 128
    surface_rays: int = 1024  # of known depth, asked where they end alone
    # schedule
    static_iterations: int = 1500
    dynamic_iterations: int = 1500
    rate: float = 5e-3
    rate_end: float = 5e-4
    plane_rate: float = 2e-2
    clip_gradient: float = 10.0
    # losses of the static stage
    static_color: float = 1.0
    static_semantics: float = 0.08
    static_depth: float = 1.0
    # losses of the dynamic stage
    color_full: float = 3.0
    color_dynamic: float = 1.0
    color_warped: float = 0.0
    flow: float = 0.02
    slow: float = 0.01
    temporal: float = 0.1
    spatial: float = 0.1
    temporal_warped: float = 0.0
    cycle: float = 0.1
    mask: float = 0.1
    sparsity: float = 0.001
    depth: float = 0.04  # of monocular disparity, up to scale and shift
    known_depth: float = 1.0  # of depths known in scene units
    known_tracks: float = 1.0  # of trajectories known in scene units
    order: float = 0.1
    depth_blending: float = 0.0
    thickness: float = 0.03
    static_flow: float = 0.5
    mask_warped: float = 0.0
    semantics_full: float = 0.16
    semantics_dynamic: float = 0.08
    semantics_warped: float = 0.0
    surface_likelihood: float = 0.01  # in both stages
    surface_color: float = 1.0
    surface_semantics: float = 0.08
    surface_blending: float = 0.1
    roughness: float = 0.01  # of the planes

    CHOICES = {
        "encoding": ("planes", "waves"), "encoder_frames": ("all", "seen"), "density": ("softplus", "relu"),
        "method": INTEGRATORS, "density_prior": ("opacity", "mean", "first"), "spacing": SPACINGS,
    }  # fmt: skip

    @property
    def iterations(self) -> int:
        """Of both stages."""
        return self.static_iterations + self.dynamic_iterations


FAST = FlowConfig()
PAPER_NETWORK = {
    "encoding": "waves", "width": 128, "blocks": 3, "static_width": 256, "static_blocks": 5, "latent": 256,
    "dynamic_features": True, "static_features": True, "position_semantics": True, "density": "relu",
    "method": "euler", "steps": 2, "flow_points": 3, "flow_stride": 1, "flow_share": 1.0, "fastest": 1.0,
    "spacing": "ndc", "samples": 64, "proposals": 0,
}  # fmt: skip
PRESETS = {
    "tiny": dataclasses.replace(
        FAST, preset="tiny", plane_resolution=64, plane_levels=2, samples=16, proposals=24, static_rays=128,
        dynamic_rays=128, static_iterations=300, dynamic_iterations=500, checkpoint_every=200,
    ),
    "fast": FAST,
    "paper": dataclasses.replace(
        FAST, preset="paper", **PAPER_NETWORK, encoder="resnet18", encoder_channels=0, static_rays=512,
        dynamic_rays=512, static_iterations=60_001, dynamic_iterations=80_001, rate=5e-4, rate_end=5e-5,
        checkpoint_every=2000, color_warped=1.0, temporal_warped=0.1, cycle=1.0, known_depth=0.0, known_tracks=0.0,
        static_depth=0.0, depth_blending=1.0, pseudo_labels=0.0, mask_warped=0.01, semantics_warped=0.1, roughness=0.0,
        surface_likelihood=0.0, surface_color=0.0, surface_semantics=0.0, surface_blending=0.0,
    ),
}  # fmt: skip


BASELINES = {
    # MonoNeRF with a semantic head: features of the point alone, neither flow attention nor displacement
    "point": {"attention": False, "displacement": False, "flow_points": 1},
    # DynNeRF with a semantic head: no features, position and time alone
    "position": {
        "encoder": NONE, "attention": False, "displacement": False, "flow_points": 1, "position_semantics": True,
    },
}  # fmt: skip
ABLATIONS = {
    "no density prior": {"density_prior": "mean"},
    "first sample": {"density_prior": "first"},
    "no displacement": {"displacement": False},
    "no flow attention": {"attention": False},
    "no flow features": {"flow_points": 1},
    "fixed static frame": {"random_static_frame": False},
    "no semantic consistency": {"semantics_warped": 0.0},
    "no static field": {"static_field": False},
    "ray attention": {"ray_attention": True, "flow_share": 1.0},
    "adaptive flow": {"method": "dopri5"},
    "neighbours left in NDC": {"compat_neighbour_ndc": True},
}


def preset(name: str) -> FlowConfig:
    """The settings of a preset by name; BadInput names the known ones."""
    if name not in PRESETS:
        raise BadInput(f"preset {name!r}: expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
