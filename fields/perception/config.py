"""All settings of a perception field and its training, and the presets that set them together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ...scenes import BadInput
from ..sampling import SPACINGS
from ..settings import Settings
from .precision import PRECISIONS

ATTENTION, DENSITY = "attention", "density"  # where the weights of a ray's samples come from
HEADS = ("unet", "fpn", "pixel")
SIZES = (  # settings that say what networks there are, of which size, and what their numbers mean
    "widths", "blocks", "decoder", "color_channels", "color_stride", "level_channels", "width", "depth", "heads",
    "ratio", "octaves", "rectified", "rendering", "head", "head_width", "concatenate",
)  # fmt: skip


@dataclass(frozen=True)
class PerceptionConfig(Settings):
    """Settings of a perception field (GP-NeRF). Schedules are in iterations, weights multiply their loss.

    The switches ``joint_attention``, ``distill_2d``, ``gradient_block`` and ``distill_depth`` are those of the paper's
    ablation (Table 4).
    """

    preset: str = "fast"
    seed: int = 0
    checkpoint_every: int = 500
    log_every: int = 20
    precision: str = "float32"  # of the networks' products: bfloat16, or float16 on CUDA; all else stays float32
    # extractor
    weights: str = ""  # of a ResNet-34: local folder or hub id; "": from scratch
    widths: tuple[int, ...] = (24, 24, 48, 64)  # of the stem and the three stages
    blocks: tuple[int, ...] = (1, 1, 2)  # of the stages
    decoder: int = 32  # channels on the way to the colour map
    color_channels: int = 16
    color_stride: int = 2  # pixels per cell of the colour map: 4 or 2
    level_channels: int = 16  # of each of the four levels of the semantic map
    # transformers
    views: int = 4
    window: float = 1.0  # of time about the asked one, in which views are looked for; 1: all, nothing moves
    width: int = 32
    depth: int = 2  # blocks of either kind
    heads: int = 4
    ratio: int = 2  # of the feed-forward part's width
    dropout: float = 0.0
    octaves: int = 6
    rectified: bool = False  # rendered semantic features are never negative, as published
    rendering: str = DENSITY  # attention: the paper's; density: of each sample, colours blended from the views
    # sampling
    spacing: str = "log"  # of depths: ndc, inverse, log, linear
    coarse: int = 14
    importance: int = 10
    # perception head
    head: str = "unet"  # the paper's; fpn; pixel: each cell by itself
    head_width: int = 48
    concatenate: bool = False  # levels of the U-Net side by side, not summed
    instances: int = 0  # slots of things told apart; 0: none are
    # ablation
    joint_attention: bool = True
    distill_2d: bool = True
    gradient_block: bool = True
    distill_depth: bool = True
    # training
    iterations: int = 2500
    rays: int = 160
    patch: int = 6  # cells along a side of the patches that rays come in
    patches: float = 0.5  # share of iterations whose rays come in patches
    pool: float = 1.5  # references are drawn from so many times their number of nearest views
    extractor_rate: float = 3e-3
    transformer_rate: float = 3e-3
    head_rate: float = 3e-3
    decay: float = 0.1  # of all rates, by the last iteration
    warm_up: int = 100
    clip_gradient: float = 1.0
    mirrored: float = 0.5  # share of iterations on pictures seen in a mirror
    relit: float = 0.0  # how far colours are changed: deviation of the logarithms of factors and power
    fused: bool = True  # classes are learned from whole maps; else of rendered pixels, each by itself
    near_depth: int = 2  # samples from the true depth within which matter is that of the pixel
    # losses
    color: float = 1.0
    coarse_color: float = 0.0
    semantics: float = 0.5
    reference_semantics: float = 0.5  # of the reference pictures' own maps
    distill: float = 0.25
    guided: float = 0.25
    known_depth: float = 0.5  # of rendered depth, where it is known
    sure_depth: float = 0.1  # of what samples at the true depth weigh
    instance: float = 0.5

    CHOICES = {
        "rendering": (ATTENTION, DENSITY), "spacing": SPACINGS, "head": HEADS, "color_stride": (2, 4),
        "precision": tuple(PRECISIONS),
    }  # fmt: skip

    @property
    def semantic_channels(self) -> int:
        """Of the semantic map, all levels side by side."""
        return 4 * self.level_channels


FAST = PerceptionConfig()
PRESETS = {
    "tiny": dataclasses.replace(
        FAST, preset="tiny", widths=(16, 16, 24, 32), blocks=(1, 1, 1), decoder=16, color_channels=8, level_channels=8,
        views=4, width=16, depth=1, octaves=4, coarse=12, importance=8, head_width=24, iterations=400, rays=144,
        checkpoint_every=200, warm_up=20, extractor_rate=4e-3, transformer_rate=4e-3, head_rate=4e-3,
    ),
    "fast": FAST,
    "paper": dataclasses.replace(
        FAST, preset="paper", widths=(64, 64, 128, 256), blocks=(3, 4, 6), decoder=128, color_channels=32,
        color_stride=4, level_channels=128, views=10, width=64, depth=8, ratio=4, dropout=0.1, octaves=10,
        rectified=True, rendering=ATTENTION, spacing="inverse", coarse=48, importance=16, head_width=128,
        iterations=200_000, rays=512, patch=8, extractor_rate=1e-3, transformer_rate=1e-5, head_rate=5e-5,
        warm_up=1000, checkpoint_every=2000, color=0.25, coarse_color=0.25, semantics=1.5, reference_semantics=0.0,
        known_depth=0.0, sure_depth=0.0, pool=2.5, mirrored=0.0, instance=1.5,
    ),
}  # fmt: skip

ABLATIONS = {
    "frozen attention": {"joint_attention": False, "distill_2d": False, "distill_depth": False},
    "joint attention": {"distill_2d": False, "distill_depth": False},
    "distilled, no gradient block": {"gradient_block": False, "distill_depth": False},
    "distilled": {"distill_depth": False},
    "full": {},
    "per-pixel head": {"head": "pixel"},
    "per-pixel rendering": {
        "head": "pixel", "fused": False, "reference_semantics": 0.0, "gradient_block": False, "distill_2d": False,
        "distill_depth": False,
    },
}  # fmt: skip


def preset(name: str) -> PerceptionConfig:
    """The settings of a preset by name; BadInput names the known ones."""
    if name not in PRESETS:
        raise BadInput(f"preset {name!r}: expected one of {', '.join(PRESETS)}")
    return PRESETS[name]


def checked(config: PerceptionConfig) -> PerceptionConfig:
    """``config``; BadInput for settings that make no network."""
    if not config.fused and (config.head != "pixel" or config.instances):
        raise BadInput("setting 'fused': expected true, unless 'head' is pixel and 'instances' 0")
    for name, length in (("widths", 4), ("blocks", 3)):
        if len(getattr(config, name)) != length or min(getattr(config, name)) < 1:
            raise BadInput(f"setting {name!r}: expected {length} positive numbers, got {getattr(config, name)}")
    positive = ("views", "width", "depth", "heads", "coarse", "rays", "patch", "level_channels", "color_channels")
    for name in positive:
        if getattr(config, name) < 1:
            raise BadInput(f"setting {name!r}: expected at least 1, got {getattr(config, name)}")
    if not config.window >= 0:
        raise BadInput(f"setting 'window': expected at least 0, got {config.window:g}")
    if not config.color > 0:
        raise BadInput(f"setting 'color': expected positive, got {config.color:g}")
    if config.width % config.heads or config.semantic_channels % config.width:
        raise BadInput(
            f"setting 'width': expected a multiple of {config.heads} heads that divides the semantic map's "
            f"{config.semantic_channels} channels, got {config.width}"
        )
    return config
