"""A flow field at one time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...scenes import BadInput, Camera
from ..rendering import Rendering
from .clip import Clip
from .render import Rays, trace

CHUNK = {"cpu": 1 << 10, "cuda": 1 << 14}  # rays at a time; on the CPU what is said of their samples stays in caches
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
        parts: list[dict[str, Tensor]] = []
        for chunk in directions.split(CHUNK[directions.device.type]):
            rays = Rays(center.expand_as(chunk), chunk)
            traced = trace(self.field, self.clip, rays, self.time, logits="logits" in channels, edit=self.edit)
            full = traced.layers.full
            seen = {"alpha": full.opacities, "depth": full.depths, "dynamicness": traced.layers.dynamicness}
            parts.append({**seen, **full.values})

        def image(name: str) -> Tensor:
            whole = torch.cat([part[name].flatten(1) for part in parts])
            return whole.view(camera.height, camera.width, -1)

        rendering = Rendering(camera, self.time, image("alpha")[..., 0])
        if "color" in channels:
            rendering.color = image("color")
        if "depth" in channels:
            rendering.depth = image("depth")[..., 0] / rendering.alpha.clamp_min(1e-6)
        if "logits" in channels:
            rendering.logits = image("logits")
        if "dynamicness" in channels:
            rendering.values = image("dynamicness")
        return rendering
