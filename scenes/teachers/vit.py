"""Patch tokens of self-supervised vision transformers: DINOv2 (Oquab et al., 2023) and kin."""

from __future__ import annotations

import torch
from torch import Tensor

from ..files import BadInput
from .base import Teacher, network_input, pick_device, unit, working_size
from .hub import HubModel

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CLASSES = {
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
}


class VisionTransformerTeacher(Teacher):
    """Last-layer patch tokens, after the final layer norm, of unit length.

    Args:
        weights: local folder or hub id.
        size: working resolution: pixels of the image's longer side as the network sees it.
        device: where to run; CUDA where there is one by default.
    """

    def __init__(
        self, weights: str = "facebook/dinov2-small", size: int = 518, device: str | None = None
    ):
        hub = HubModel(weights)
        if hub.model_type not in CLASSES:
            raise BadInput(
                f"{weights}: model type {hub.model_type!r}, expected one of {', '.join(CLASSES)}"
            )
        self.name = hub.model_type
        self.device = pick_device(device)
        self.model = hub.load(CLASSES[hub.model_type], self.device)
        self.dim = self.model.config.hidden_size
        self.patch = self.model.config.patch_size
        self.size = check_size(size, self.patch)
        self.mean, self.std = hub.normalisation(IMAGENET_MEAN, IMAGENET_STD)
        self._key = f"{self.name} {hub.fingerprint()} size={self.size} {self.mean} {self.std}"

    def key(self) -> str:
        return self._key

    @torch.no_grad()
    def map(self, image: Tensor) -> Tensor:
        height, width = working_size(*image.shape[:2], self.size, self.patch)
        pixels = network_input(image, (height, width), self.mean, self.std).to(self.device)
        tokens = self.model(pixel_values=pixels).last_hidden_state[0]
        rows, columns = height // self.patch, width // self.patch
        # Class and register tokens come first.
        return unit(tokens[-rows * columns :]).reshape(rows, columns, -1).to(image.device)


def check_size(size: int, patch: int) -> int:
    """``size`` if it is a working resolution of at least one patch; :class:`BadInput` otherwise."""
    if not isinstance(size, int) or not patch <= size <= 8192:
        raise BadInput(f"teacher option size: expected {patch}..8192 pixels, got {size!r}")
    return size
