"""Weights of a ResNet-34 for the extractor, by name."""

from __future__ import annotations

import torch

from ...scenes import BadInput
from .extractor import Block, Extractor


def load_weights(extractor: Extractor, source: str) -> None:
    """Begin with the convolutions of the ResNet-34 at ``source``, a local folder or hub id of transformers' layout.

    Its batch norms lend their scales and shifts. The first stage's short cut, which that network has not, stays random.

    BadInput: the weights cannot be had, or are of a network of other widths or blocks.
    """
    from ...scenes.teachers.hub import HubModel

    hub = HubModel(source)
    if hub.model_type != "resnet":
        raise BadInput(f"{source}: model type {hub.model_type!r}, expected resnet")
    found = hub.load("ResNetModel", torch.device("cpu")).state_dict()

    def take(module: torch.nn.Module, name: str) -> None:
        for part in ("weight", "bias"):
            own = getattr(module, part)
            if own is None:
                continue
            value = found.get(f"{name}.{part}")
            if value is None or value.shape != own.shape:
                got = "none" if value is None else list(value.shape)
                raise BadInput(f"{source}: {name}.{part}: expected {list(own.shape)}, got {got}")
            own.data.copy_(value)

    take(extractor.stem, "embedder.embedder.convolution")
    take(extractor.norm, "embedder.embedder.normalization")
    for s, stage in enumerate(extractor.stages):
        for b, block in enumerate(stage):
            _take_block(take, block, f"encoder.stages.{s}.layers.{b}", s > 0 and b == 0)


def _take_block(take, block: Block, name: str, short: bool) -> None:
    take(block.first, f"{name}.layer.0.convolution")
    take(block.norm1, f"{name}.layer.0.normalization")
    take(block.second, f"{name}.layer.1.convolution")
    take(block.norm2, f"{name}.layer.1.normalization")
    if short:
        take(block.short[0], f"{name}.shortcut.convolution")
        take(block.short[1], f"{name}.shortcut.normalization")
