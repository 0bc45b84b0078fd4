"""Several teachers as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..files import BadInput
from ..scene import Frame
from .base import Teacher, unit


class JointTeacher(Teacher):
    """Maps of several teachers side by side, on the finest of their grids.

    Each part has unit length before they are joined, so that a cosine is the mean of the parts'
    cosines (DGD's CLIP + DINOv2). Words are compared with the parts that have a text tower; masks
    come from the first part that makes them."""

    def __init__(self, parts: Sequence[Teacher]):
        self.parts = list(parts)
        if len(self.parts) < 2 or any(part.dim is None for part in self.parts):
            raise BadInput("joint teacher: expected two or more networks or classical, joined by +")
        self.name = "+".join(part.name for part in self.parts)
        self.dim = sum(part.dim for part in self.parts)
        self.can_mask = any(part.can_mask for part in self.parts)

    def key(self) -> str:
        return "joint " + " + ".join(part.key() for part in self.parts)

    def inputs(self, frame: Frame, neighbour: Frame | None = None) -> list[Tensor]:
        return [array for part in self.parts for array in part.inputs(frame, neighbour)]

    def map(self, image: Tensor) -> Tensor:
        return self._join([part.map(image) for part in self.parts])

    def of_frame(self, frame: Frame, neighbour: Frame | None = None) -> Tensor:
        return self._join([part.of_frame(frame, neighbour) for part in self.parts])

    def text(self, prompts: Sequence[str]) -> Tensor:
        vectors, speaks = [], False
        for part in self.parts:
            try:
                vectors.append(part.text(prompts))
                speaks = True
            except BadInput:
                vectors.append(torch.zeros(1, part.dim))
        if not speaks:
            return super().text(prompts)
        count = max(len(vector) for vector in vectors)
        return unit(torch.cat([vector.expand(count, -1) for vector in vectors], -1))

    def mask(self, image, clicks, labels=None, box=None, grain=None) -> Tensor:
        for part in self.parts:
            if part.can_mask:
                return part.mask(image, clicks, labels, box, grain)
        return super().mask(image, clicks, labels, box, grain)

    def masks(self, image, clicks, labels=None, box=None) -> tuple[Tensor, Tensor]:
        for part in self.parts:
            if part.can_mask:
                return part.masks(image, clicks, labels, box)
        return super().masks(image, clicks, labels, box)

    def _join(self, maps: list[Tensor]) -> Tensor:
        size = max((tuple(features.shape[:2]) for features in maps), key=math.prod)
        resized = [
            F.interpolate(features.permute(2, 0, 1)[None], size, mode="bilinear")[0].permute(
                1, 2, 0
            )
            for features in maps
        ]
        return unit(torch.cat([unit(features) for features in resized], -1))
