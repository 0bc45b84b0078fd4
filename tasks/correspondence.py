"""Pictures of what belongs together over time: matter coloured by where it is at one moment."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..fields.rendering import Rendering
from ..scenes import Scene
from .surface import STILL, surface, travel

PROBES = 5  # moments at which a trajectory is looked at to tell whether it moves, and frames that set the colours
WIDTH = 128  # of the pictures that set the colours
FLATTEST = 0.25  # least side of the box that colours span, of its largest: what is flat is not stretched


class Palette(NamedTuple):
    """The box [3], [3] of canonical places that colours span, and how far matter travels that moves."""

    low: Tensor
    span: Tensor
    least: float


class Correspondence:
    """Colours what moves by its canonical position, that is where its matter is at the middle training frame, so that
    the same matter has the same colour at all times (Semantic Flow's correspondence pictures).

    Asks a field only for rendered depth and trajectories.
    """

    def __init__(self, field, scene: Scene):
        self.field = field
        frames = scene.split("train")
        self.canonical = frames[len(frames) // 2].time
        chosen = torch.linspace(0, len(frames) - 1, PROBES).long().unique().tolist()
        self.frames = [frames[i] for i in chosen]
        self.palette = self._palette()

    @torch.no_grad()
    def __call__(self, rendering: Rendering) -> tuple[Tensor, Tensor]:
        """Colours [H, W, 3] in 0..1 of a ``rendering`` with depth, black but where matter moves; that mask [H, W]."""
        places, far, shown = self._places(rendering)
        moving = torch.zeros_like(shown)
        moving[shown] = far > self.palette.least
        colors = torch.zeros(*shown.shape, 3)
        inside = (places - self.palette.low) / self.palette.span
        colors[moving.cpu()] = inside[moving[shown]].clamp(0, 1).cpu()
        return colors, moving.cpu()

    def _places(self, rendering: Rendering) -> tuple[Tensor, Tensor, Tensor]:
        """Canonical places [P, 3] of what is shown, how far it travels [P], and the pixels it is of [H, W]."""
        points, shown = surface(rendering)
        times = torch.tensor([self.canonical, *(frame.time for frame in self.frames)])
        paths = self.field.trajectories(points, rendering.time, times)
        return paths[:, 0], travel(paths, points), shown

    @torch.no_grad()
    def _palette(self) -> Palette:
        places, far, depths = [], [], []
        for frame in self.frames:
            width = min(WIDTH, frame.camera.width)
            camera = frame.camera.resized(width, max(1, round(frame.camera.height * width / frame.camera.width)))
            seen = self.field.render(camera, frame.time, ("depth",))
            found = self._places(seen)
            places.append(found[0])
            far.append(found[1])
            depths.append(seen.depth[found[2]])
        places, far, depths = torch.cat(places), torch.cat(far), torch.cat(depths)
        least = STILL * depths.median().item() if len(depths) else 0.0
        moving = places[far > least]
        if len(moving) == 0:
            return Palette(places.new_zeros(3), places.new_ones(3), least)
        low, high = torch.quantile(moving[:: 1 + len(moving) // 100_000], moving.new_tensor([0.02, 0.98]), dim=0)
        span = (high - low).clamp_min(FLATTEST * (high - low).max().clamp_min(1e-6))
        return Palette((low + high - span) / 2, span, least)
