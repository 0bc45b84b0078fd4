"""Segment Anything (Kirillov et al., 2023): dense features, and masks from clicks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..files import BadInput
from .base import Teacher, check_image, content_hash, network_input, pick_device, unit, working_size
from .hub import HubModel
from .vit import IMAGENET_MEAN, IMAGENET_STD

NEARLY = 0.05  # predicted IoU below the best candidate's at which another one may be what is meant


class SamTeacher(Teacher):
    """SAM's image encoder as a teacher, its prompt encoder and mask decoder for clicks.

    The image is resized to fill the network's square on its longer side (1024 pixels) and padded
    with zeros on the other; the map holds only the cells of the image. The shorter side is rounded
    to whole cells, so that they cover it exactly.

    Args:
        weights: local folder or hub id.
        device: where to run; CUDA where there is one by default.
    """

    can_mask = True

    def __init__(self, weights: str = "facebook/sam-vit-base", device: str | None = None):
        hub = HubModel(weights)
        if hub.model_type != "sam":
            raise BadInput(f"{weights}: model type {hub.model_type!r}, expected sam")
        self.device = pick_device(device)
        mean, std = hub.normalisation(IMAGENET_MEAN, IMAGENET_STD)
        self._finish(
            "sam",
            hub.load("SamModel", self.device),
            mean,
            std,
            f"sam {hub.fingerprint()} {mean} {std}",
        )

    def _finish(self, name: str, model: torch.nn.Module, mean: tuple, std: tuple, key: str) -> None:
        vision = model.config.vision_config
        self.name, self.model, self.mean, self.std, self._key = name, model, mean, std, key
        self.dim, self.patch, self.side = (
            vision.output_channels,
            vision.patch_size,
            vision.image_size,
        )
        self._last: tuple[str, Tensor] | None = None

    def key(self) -> str:
        return self._key

    def encode(self, pixels: Tensor) -> Tensor:
        """Features [1, D, side/patch, side/patch] of a padded square [1, 3, side, side]."""
        return self.model.vision_encoder(pixels)[0]

    @torch.no_grad()
    def map(self, image: Tensor) -> Tensor:
        height, width = working_size(*image.shape[:2], self.side, self.patch)
        features = self._features(image)[0, :, : height // self.patch, : width // self.patch]
        return unit(features.permute(1, 2, 0)).to(image.device)

    def mask(
        self,
        image: Tensor,
        clicks: Sequence[tuple[float, float]],
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
        grain: str | None = None,
    ) -> Tensor:
        """The best of three candidates by SAM's own predicted IoU; see :meth:`Teacher.mask`.

        By ``grain`` the largest or smallest of those that are nearly the best.
        """
        candidates, quality = self.masks(image, clicks, labels, box)
        return candidates[chosen(candidates, quality, grain)]

    @torch.no_grad()
    def masks(
        self,
        image: Tensor,
        clicks: Sequence[tuple[float, float]],
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """SAM's three candidates and its own prediction of their IoU; see :meth:`Teacher.masks`."""
        rows, columns = image.shape[:2]
        height, width = working_size(rows, columns, self.side, self.patch)
        points = check_clicks(clicks, rows, columns).to(self.device)
        signs = check_labels(labels, len(points)).to(self.device)
        # From pixel indices to the network's square; its prompt encoder adds half a pixel itself.
        scale = points.new_tensor([width / columns, height / rows])
        points = (points + 0.5) * scale - 0.5
        if box is not None:
            box = (torch.as_tensor(box).to(points) * scale.repeat(2) - 0.5)[None, None]
        features = self._features(image)
        sparse, dense = self.model.prompt_encoder(points[None, None], signs[None, None], box, None)
        candidates, quality = self.model.mask_decoder(
            image_embeddings=features,
            image_positional_embeddings=self.model.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )[:2]
        square = F.interpolate(
            candidates[0], (self.side, self.side), mode="bilinear", align_corners=False
        )
        logits = F.interpolate(
            square[..., :height, :width], (rows, columns), mode="bilinear", align_corners=False
        )
        return (logits[0] > 0).to(image.device), quality[0, 0].to(image.device)

    def _features(self, image: Tensor) -> Tensor:
        # A person clicks on the same frame again and again; the encoder is nearly all of the time.
        name = content_hash(check_image(image))
        if self._last is None or self._last[0] != name:
            size = working_size(*image.shape[:2], self.side, self.patch)
            pixels = network_input(image, size, self.mean, self.std).to(self.device)
            pixels = F.pad(pixels, (0, self.side - size[1], 0, self.side - size[0]))
            self._last = name, self.encode(pixels)
        return self._last[1]


def chosen(candidates: Tensor, quality: Tensor, grain: str | None) -> int:
    """Which of the masks [C, h, w] (or their logits) with predicted IoU ``quality`` [C] is meant."""
    if grain is None:
        return int(quality.argmax())
    area = (candidates > 0).flatten(1).sum(1).float()
    good = quality >= quality.max() - NEARLY
    if grain == "whole":
        return int(torch.where(good, area, -1.0).argmax())
    return int(torch.where(good, area, torch.inf).argmin())


def check_clicks(clicks: Sequence[tuple[float, float]], rows: int, columns: int) -> Tensor:
    """Clicks (x, y) as [P, 2] float32; :class:`BadInput` for none, or one outside the image."""
    points = torch.as_tensor([tuple(click) for click in clicks], dtype=torch.float32)
    if points.ndim != 2 or points.shape[1] != 2:
        raise BadInput(f"click: expected one or more x,y pairs, got {clicks!r}")
    for x, y in points.tolist():
        if not (0 <= x < columns and 0 <= y < rows):
            raise BadInput(f"click: {x:g},{y:g} is outside the image of {columns}x{rows} pixels")
    return points


def check_labels(labels: Sequence[int] | None, count: int) -> Tensor:
    """Labels of clicks as [P] int64: 1 inside, 0 outside; :class:`BadInput` otherwise."""
    signs = (
        torch.ones(count, dtype=torch.int64) if labels is None else torch.as_tensor(list(labels))
    )
    if signs.shape != (count,) or not bool(((signs == 0) | (signs == 1)).all()):
        raise BadInput(f"click labels: expected {count} values of 0 or 1, got {labels!r}")
    return signs.long()
