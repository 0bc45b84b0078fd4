"""What the pictures of a scene are to look like, and which of their rays a step asks for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...scenes import Scene
from ...scenes.labels import label_map
from .views import Views, views_of


@dataclass
class Targets:
    """A scene's reference views, and the truth of their pixels; None where no picture has it, -1 and 0 for unknown.

    Attributes:
        labels, instances: [N, H, W] int16. depths: [N, H, W] float32.
    """

    name: str
    views: Views
    labels: Tensor | None = None
    instances: Tensor | None = None
    depths: Tensor | None = None

    def of(self, chosen: Tensor) -> Targets:
        """Those of the ``chosen`` pictures [V] alone, where the views are."""
        views = self.views
        few = views.replaced(**{name: getattr(views, name)[chosen] for name in ("images", "viewmats", "Ks", "times")})
        layers = (self.labels, self.instances, self.depths)
        found = (None if layer is None else layer[chosen.cpu()].to(views.images.device) for layer in layers)
        return Targets(self.name, few, *found)


def targets(scene: Scene, window: float = 1.0) -> Targets:
    """What the training frames of ``scene`` tell; BadInput for labels outside its classes, and as of ``views_of``."""
    frames = scene.split("train")
    views = views_of(scene, window=window)

    def stacked(layer: str, missing: float, dtype: torch.dtype, read) -> Tensor | None:
        if not any(frame.has(layer) for frame in frames):
            return None
        blank = torch.full(views.images.shape[2:], missing, dtype=dtype)
        return torch.stack([read(frame).to(dtype) if frame.has(layer) else blank for frame in frames])

    labels = None
    if scene.label_names:
        labels = stacked("label", -1, torch.int16, lambda frame: label_map(frame, len(scene.label_names)))
    instances = stacked("instance", -1, torch.int16, lambda frame: frame.instance)
    depths = stacked("depth", 0, torch.float32, lambda frame: frame.depth)
    return Targets(scene.name, views, labels, instances, depths)


def cells(rows: int, columns: int, count: int, patch: int, generator: torch.Generator) -> Tensor:
    """About ``count`` different cells of a map [rows, columns], in squares of ``patch`` cells along a side.

    Returns flat indices, ascending; fewer where squares overlap.
    """
    size = min(patch, rows, columns)
    number = max(1, round(count / size**2))
    top = torch.randint(rows - size + 1, (number,), generator=generator)
    left = torch.randint(columns - size + 1, (number,), generator=generator)
    if size == 1:
        return torch.randperm(rows * columns, generator=generator)[:number].sort().values
    within = torch.arange(size)
    found = (top[:, None, None] + within[:, None]) * columns + left[:, None, None] + within
    return found.flatten().unique()


def pixels_in(found: Tensor, columns: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """One pixel (x, y) in each of the cells ``found`` of a map of half the picture's size: int64 [R, 2]."""
    shift = torch.randint(2, (len(found), 2), generator=generator)
    x = (2 * (found % columns) + shift[:, 0]).clamp_max(width - 1)
    y = (2 * (found // columns) + shift[:, 1]).clamp_max(height - 1)
    return torch.stack([x, y], -1)
