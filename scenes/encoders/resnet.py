"""Residual networks (He et al., CVPR 2016): several stages of one network on one grid.

ResNet-18 up to its third stage is Semantic Flow's image encoder. Its video encoder, SlowOnly
ResNet-50 (Feichtenhofer et al., ICCV 2019), convolves over time in its last two stages only; the
three that the method reads (64 + 256 + 512 channels) see one frame each, and are those of a
ResNet-50 for images, from whose weights they were trained on.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from ..files import BadInput
from ..teachers.base import Teacher, network_input, pick_device, working_size
from ..teachers.hub import HubModel
from ..teachers.vit import IMAGENET_MEAN, IMAGENET_STD, check_size


class ResNetStages(Teacher):
    """Outputs of a network's stages side by side, on the grid of the first; lengths as they come.

    Args:
        weights: local folder or hub id.
        stages: which ones: 0 for the first convolution, 1 to 4 for the residual stages.
        pool: whether the first convolution is followed by its max-pooling, so that the grid has a
            quarter of the image's resolution; half of it otherwise.
        size: working resolution, pixels of the image's longer side; the image's own if None.
        device: where to run; CUDA where there is one by default.
    """

    def __init__(
        self,
        weights: str = "microsoft/resnet-18",
        stages: Sequence[int] = (0, 1, 2, 3),
        pool: bool = True,
        size: int | None = None,
        device: str | None = None,
    ):
        hub = HubModel(weights)
        if hub.model_type != "resnet":
            raise BadInput(f"{weights}: model type {hub.model_type!r}, expected resnet")
        self.name = "resnet"
        self.device = pick_device(device)
        self.model = hub.load("ResNetModel", self.device)
        config = self.model.config
        widths = [config.embedding_size, *config.hidden_sizes]
        if not stages or any(stage not in range(len(widths)) for stage in stages) or len(set(stages)) < len(stages):
            raise BadInput(f"encoder option stages: expected different ones of 0..{len(widths) - 1}, got {stages!r}")
        self.stages, self.pool = tuple(stages), bool(pool)
        self.dim = sum(widths[stage] for stage in stages)
        steps = [4 if pool else 2, 2 if config.downsample_in_first_stage else 1] + [2] * (len(widths) - 2)
        self.strides = list(accumulate(steps, operator.mul))
        self.size = size if size is None else check_size(size, 32)
        self.mean, self.std = hub.normalisation(IMAGENET_MEAN, IMAGENET_STD)
        self.weights_key = f"{hub.fingerprint()} size={size} {self.mean} {self.std}"

    def key(self) -> str:
        return f"resnet 1 {self.weights_key} stages={self.stages} pool={self.pool}"

    @torch.no_grad()
    def map(self, image: Tensor) -> Tensor:
        pixels = self.pixels(image)
        stem = self.model.embedder.embedder(pixels)
        outputs = [self.model.embedder.pooler(stem) if self.pool else stem]
        for stage in self.model.encoder.stages[: max(self.stages)]:
            outputs.append(stage(outputs[-1]))
        grid = outputs[0].shape[-2:]
        maps = [on_grid(outputs[stage], self.strides[stage], pixels.shape[-2:], grid) for stage in self.stages]
        return torch.cat(maps, 1)[0].permute(1, 2, 0).to(image.device)

    def pixels(self, image: Tensor) -> Tensor:
        """What the network sees of ``image`` [H, W, 3]: [1, 3, h, w]."""
        size = image.shape[:2] if self.size is None else working_size(*image.shape[:2], self.size, 1)
        return network_input(image, size, self.mean, self.std).to(self.device)


class ResNetSummary(Teacher):
    """The last stage's mean over the image, as a map of one cell."""

    def __init__(self, network: ResNetStages):
        self.network = network
        self.name = f"{network.name} summary"
        self.dim = network.model.config.hidden_sizes[-1]

    def key(self) -> str:
        return f"resnet summary 1 {self.network.weights_key}"

    @torch.no_grad()
    def map(self, image: Tensor) -> Tensor:
        pooled = self.network.model(self.network.pixels(image)).pooler_output
        return pooled.reshape(1, 1, -1).to(image.device)


def on_grid(features: Tensor, stride: int, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """``features`` [1, C, h, w] at the middles of the cells of ``grid``, which cover an image: [1, C, *grid].

    Args:
        features: made by padded convolutions with windows of odd width.
        stride: of all layers up to here, in pixels.
        size: of the image, in pixels.
        grid: rows and columns of cells.

    Such windows are centred on every ``stride``-th pixel from the first one on, and not on the cells
    that divide the image. Resizing would take them for those: in a third stage, seven pixels off.
    """
    axes = []
    for length, cells, count in zip(size, grid, features.shape[-2:], strict=True):
        pixel = (torch.arange(cells, device=features.device) + 0.5) * (length / cells) - 0.5
        axes.append(2 * pixel / (stride * max(1, count - 1)) - 1)
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    where = torch.stack([columns, rows], -1)[None]
    return F.grid_sample(features, where, mode="bilinear", padding_mode="border", align_corners=True)
