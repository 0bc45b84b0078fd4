"""Channels of a field as pictures, with the same colours in every picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from ..fields.gaussians.field import GaussianField
from ..fields.rendering import Rendering
from ..scenes import BadInput, Camera, Scene
from ..scenes.teachers.pca import pca_colors
from .correspondence import Correspondence
from .pictures import PALETTE, depth_colors, depth_range, overlay
from .selection import Selection

# What can be drawn, and what it shows.
CHANNELS = {
    "rgb": "colour",
    "depth": "z-depth, near is bright",
    "features": "their principal components",
    "semantics": "the classes of labels that were learned",
    "objects": "what was selected by name",
    "correspondence": "what moves, coloured by where its matter is at the middle frame",
}


class Painter:
    """Draws what every field shows: colour, depth, classes, and what belongs together over time.

    A channel is drawn by the method of its name from a rendering of what :meth:`needs` says.

    Args:
        field, scene: the field and the scene that it was fitted to.
        objects: selections, where fields have them.
    """

    channels: tuple[str, ...] = ("rgb", "depth", "semantics", "correspondence")

    def __init__(self, field, scene: Scene, objects: Sequence[Selection] = ()):
        self.field, self.scene, self.selections = field, scene, list(objects)
        self.depth_range: tuple[float, float] | None = None

    def check(self, channels: Sequence[str]) -> None:
        """BadInput for channels that cannot be drawn of this field."""
        unknown = [channel for channel in channels if channel not in self.channels]
        if unknown or not channels:
            raise BadInput(f"channels: expected {', '.join(self.channels)}, got {', '.join(unknown) or 'none'}")
        for channel in channels:
            self.needs(channel)

    def needs(self, channel: str) -> tuple[str, ...]:
        """What has to be rendered for a channel; BadInput where the field does not know it."""
        if channel == "semantics" and not self.field.label_names:
            raise BadInput("semantics: the field knows no classes, which come from labels; selected things are objects")
        return {"rgb": ("color",), "depth": ("depth",), "semantics": ("color", "logits"),
                "correspondence": ("color", "depth")}[channel]

    def values(self, channels: Sequence[str]) -> dict[str, Tensor]:
        """What has to be composited for channels besides, [N, C] by channel, given per primitive."""
        return {}

    @torch.no_grad()
    def paint(self, state, camera: Camera, channels: Sequence[str]) -> dict[str, Tensor]:
        """Channels of ``state`` seen by ``camera`` as images [H, W, 3] in 0..1, all rendered in one pass."""
        self.check(channels)
        drawn = list(dict.fromkeys(part for channel in channels for part in self.needs(channel)))
        values = self.values(channels)
        seen = state.render(camera, drawn, torch.cat(list(values.values()), -1) if values else None)
        parts = {}
        if values:
            widths = [value.shape[-1] for value in values.values()]
            parts = dict(zip(values, seen.values.cpu().split(widths, -1), strict=True))
        return {channel: getattr(self, channel)(seen, parts.get(channel)) for channel in channels}

    def rgb(self, seen: Rendering, _) -> Tensor:
        return seen.color.cpu().clamp(0, 1)

    def depth(self, seen: Rendering, _) -> Tensor:
        depth = seen.depth.cpu()
        self.depth_range = self.depth_range or depth_range([depth])
        return depth_colors(depth, *self.depth_range)

    def semantics(self, seen: Rendering, _) -> Tensor:
        labels = seen.labels.cpu()
        known = torch.nn.functional.one_hot(labels.clamp_min(0), len(self.field.label_names)) * (labels >= 0)[..., None]
        return in_color(self.rgb(seen, None), known)

    def correspondence(self, seen: Rendering, _) -> Tensor:
        colors, moving = self.matter(seen)
        return torch.where(moving[..., None], colors, background(self.rgb(seen, None)))

    @cached_property
    def matter(self) -> Correspondence:
        return Correspondence(self.field, self.scene)


class GaussianPainter(Painter):
    """Draws Gaussians: their features too, and the objects selected among them."""

    channels = tuple(CHANNELS)

    def needs(self, channel: str) -> tuple[str, ...]:
        if channel == "features":
            return ()
        if channel == "objects":
            if not self.selections:
                raise BadInput("objects: the run has none yet; name one with semaflow select")
            return ("color",)
        return super().needs(channel)

    def values(self, channels: Sequence[str]) -> dict[str, Tensor]:
        values = {"features": self.feature_colors} if "features" in channels else {}
        if "objects" in channels:
            selected = torch.stack([chosen.selected for chosen in self.selections], 1)
            values["objects"] = selected.to(self.field.at(0.0).means)
        return values

    def features(self, seen: Rendering, values: Tensor) -> Tensor:
        return values.clamp(0, 1)

    def objects(self, seen: Rendering, values: Tensor) -> Tensor:
        return in_color(self.rgb(seen, None), values)

    @cached_property
    def feature_colors(self) -> Tensor:
        """Principal components of the Gaussians' features as colours [N, 3]."""
        features = self.field.semantics()
        if features is None:
            raise BadInput("features: the field has no semantics; fit it with a teacher")
        return pca_colors(torch.nn.functional.normalize(features, dim=-1))[0]


def painter(field, scene: Scene, objects: Sequence[Selection] = ()) -> Painter:
    """The painter for a field's kind."""
    kind = GaussianPainter if field.kind == GaussianField.kind else Painter
    return kind(field, scene, objects)


def in_color(image: Tensor, masks: Tensor) -> Tensor:
    """A picture [H, W, 3] in grey, darker where no mask is, with soft masks [H, W, M] in a colour each."""
    grey = image.mean(-1, keepdim=True).expand(-1, -1, 3)
    strongest, index = masks.max(-1)
    shown = background(image)
    for number in index[strongest > 0.5].unique().tolist():
        color = PALETTE[number % len(PALETTE)]
        mine = (index == number) & (strongest > 0.5)
        shown = torch.where(mine[..., None], overlay(grey, mine, color), shown)
    return shown


def background(image: Tensor) -> Tensor:
    """A picture [H, W, 3] in dark grey, on which colours say something else."""
    return 0.6 * image.mean(-1, keepdim=True).expand(-1, -1, 3)
