"""What a camera sees of a state."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..scenes import Camera


@dataclass
class Rendering:
    """Images of one camera at one time; channels that were not asked for are None.

    Attributes:
        camera, time: where and when.
        alpha: accumulated opacity, [H, W].
        color: [H, W, 3] in 0..1 over the background.
        depth: expected z-depth in scene units, 0 where nothing is, [H, W].
        features: composited features, not normalised by alpha, [H, W, D].
        values: composited extra channels, not normalised by alpha, [H, W, C].
    """

    camera: Camera
    time: float
    alpha: Tensor
    color: Tensor | None = None
    depth: Tensor | None = None
    features: Tensor | None = None
    values: Tensor | None = None
