"""What a camera sees of a state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
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
        logits: composited scores of the classes, not normalised by alpha, [H, W, C].
        values: composited extra channels, not normalised by alpha, [H, W, C].
        instances: scores of the slots of things told apart, [H, W, K].
    """

    camera: Camera
    time: float
    alpha: Tensor
    color: Tensor | None = None
    depth: Tensor | None = None
    features: Tensor | None = None
    logits: Tensor | None = None
    values: Tensor | None = None
    instances: Tensor | None = None

    @property
    def labels(self) -> Tensor | None:
        """The class of the highest score, int64 [H, W]; -1 where nothing is known, all scores being 0."""
        if self.logits is None:
            return None
        known = (self.logits != 0).any(-1)
        return torch.where(known, self.logits.argmax(-1), -1)
