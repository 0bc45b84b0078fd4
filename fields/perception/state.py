"""A scene as its reference views show it, ready to be rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...scenes import BadInput, Camera
from ..rendering import Rendering
from .extractor import Maps
from .render import References, Traced, directions, references, trace

if TYPE_CHECKING:
    from .field import PerceptionField

CHUNK = 2048  # rays at once
CHANNELS = ("color", "depth", "logits", "instances", "features")


class PerceptionState:
    """A :class:`PerceptionField` and the views that it looks at, at ``time``: those within their window about it."""

    def __init__(self, field: PerceptionField, time: float):
        self.field, self.time = field, time

    @torch.no_grad()
    def render(self, camera: Camera, channels=("color",), values: Tensor | None = None) -> Rendering:
        """What ``camera`` sees: colours, depths and opacities of each pixel; class scores, scores of instance slots and
        semantic features, of which half as many are rendered along each side.

        BadInput: an unknown channel, no scores of that kind, a camera that sees nothing which a reference view shows.
        """
        unknown = set(channels) - set(CHANNELS)
        if unknown or values is not None:
            what = sorted(unknown)[0] if unknown else "values"
            raise BadInput(f"channel {what!r}: expected {', '.join(CHANNELS)}")
        field = self.field
        if "logits" in channels and field.head is None:
            raise BadInput("channel 'logits': this field has learned no classes")
        if "instances" in channels and field.instance_head is None:
            raise BadInput("channel 'instances': this field has learned no instances")
        camera = camera.to(field.views.viewmats.device)
        chosen = field.views.nearest(camera.viewmat, self.time, field.config.views)
        maps = field.maps()
        before = references(field.views, chosen, Maps(maps.color[chosen], maps.semantic[chosen]), camera)
        made = Rendering(camera, self.time, None)
        height, width = camera.height, camera.width
        semantic = {"logits", "instances", "features"} & set(channels)
        if semantic:
            size = -(-height // 2), -(-width // 2)
            cells, traced = self._traced(before, camera, grid(camera, *size), True)
            features = cells.view(*size, -1)
            made.features = features if "features" in channels else None
            for name, scores in (("logits", field.classes), ("instances", field.things)):
                if name in channels:
                    setattr(made, name, scores(features.permute(2, 0, 1)[None], height, width)[0].permute(1, 2, 0))
        if {"color", "depth"} & set(channels) or not semantic:
            _, traced = self._traced(before, camera, grid(camera, height, width), False)
            made.color = traced[0].view(height, width, 3) if "color" in channels else None
            made.depth = traced[1].view(height, width) if "depth" in channels else None
            made.alpha = traced[2].view(height, width)
        else:
            made.alpha = _enlarged(traced[2].view(size), height, width)
        return made

    def _traced(self, before: References, camera: Camera, pixels: Tensor, semantics: bool):
        """Semantic features of rays, and their colours, depths and opacities."""
        found: list[Traced] = [
            trace(self.field.aggregation, before, ways, semantics) for ways in directions(camera, pixels).split(CHUNK)
        ]
        if not any(bool(part.seen.any()) for part in found):
            raise BadInput("camera: sees nothing that a reference view shows")
        features = torch.cat([part.fine.semantic for part in found]) if semantics else None
        color, depth, alpha = (
            torch.cat([getattr(part.fine, name) for part in found]) for name in ("color", "depth", "alpha")
        )
        return features, (color, depth, alpha)


def grid(camera: Camera, rows: int, columns: int) -> Tensor:
    """Pixels [rows columns, 2] in the middles of cells that share the picture evenly."""
    like = camera.K
    y = (torch.arange(rows, device=like.device, dtype=like.dtype) + 0.5) * (camera.height / rows)
    x = (torch.arange(columns, device=like.device, dtype=like.dtype) + 0.5) * (camera.width / columns)
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1).view(-1, 2)


def _enlarged(image: Tensor, height: int, width: int) -> Tensor:
    return torch.nn.functional.interpolate(image[None, None], size=(height, width), mode="bilinear")[0, 0]
