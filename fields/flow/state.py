"""A flow field at one time."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...scenes import BadInput, Camera
from ..rendering import Rendering
from .clip import Clip
from .render import Rays, trace

CHUNK = 4096  # rays at a time
CHANNELS = ("color", "depth", "logits", "dynamicness")


@dataclass
class FlowState:
    """``field`` posed at ``time`` in ``clip``, which a camera renders, as an :class:`.editing.Editing` changes it."""

    field: object
    clip: Clip
    time: float
    edit: object = None

    @torch.no_grad()
    def render(self, camera: Camera, channels=("color",), values=None) -> Rendering:
        """What ``camera`` sees; ``channels`` among color, depth, logits and dynamicness [H, W] (as ``values``)."""
        unknown = set(channels) - set(CHANNELS)
        if unknown or values is not None:
            raise BadInput(f"channels: expected some of {', '.join(CHANNELS)}, got {', '.join(unknown) or 'values'}")
        camera = camera.to(self.clip.center.device)
        center, directions = camera.rays()
        directions = directions.reshape(-1, 3)
        parts = []
        for chunk in directions.split(CHUNK):
            rays = Rays(center.expand_as(chunk), chunk)
            parts.append(trace(self.field, self.clip, rays, self.time, logits="logits" in channels, edit=self.edit))
        shape = camera.height, camera.width

        def image(read, size: int | None = None):
            whole = torch.cat([read(part) for part in parts])
            return whole.view(*shape) if size is None else whole.view(*shape, size)

        rendering = Rendering(camera, self.time, image(lambda part: part.layers.full.opacities))
        if "color" in channels:
            rendering.color = image(lambda part: part.layers.full.values["color"], 3)
        if "depth" in channels:
            depth = image(lambda part: part.layers.full.depths)
            rendering.depth = depth / rendering.alpha.clamp_min(1e-6)
        if "logits" in channels:
            rendering.logits = image(lambda part: part.layers.full.values["logits"], parts[0].logits.shape[-1])
        if "dynamicness" in channels:
            rendering.values = image(lambda part: part.layers.dynamicness, 1)
        return rendering
