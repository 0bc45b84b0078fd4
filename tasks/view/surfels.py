"""Fields without Gaussians as the viewer can show them: by points on the surfaces that training cameras see."""

from __future__ import annotations

import torch
from torch import Tensor

from ...fields.gaussians.color import SH_C0
from ...fields.gaussians.state import GaussianState
from ...fields.rendering import Rendering
from ...scenes import BadInput, Camera, Scene
from ..pictures import PALETTE
from ..selection import Selection
from ..surface import STILL, smooth, surface, travel
from ..track_class import class_number
from . import colors as paint
from .layers import Layers

FRAMES = 4  # training frames whose surfaces are taken
MOST = 24_000  # points of all of them


class Surfels:
    """Points on surfaces that a field shows to some training cameras, each carried along by the field's trajectories.

    It looks like a ``GaussianField`` to the viewer's layers; ``label`` [N] is the class of each point, -1 for none,
    ``paths`` [N, T, 3] where it is at the training times.
    """

    kind = "surfels"

    @torch.no_grad()
    def __init__(self, field, scene: Scene):
        frames = scene.split("train")
        self.times = torch.tensor(scene.times)
        chosen = torch.linspace(0, len(frames) - 1, FRAMES).long().unique().tolist()
        parts: dict[str, list[Tensor]] = {name: [] for name in ("paths", "colors", "label", "sizes", "depths")}
        for frame in (frames[k] for k in chosen):
            camera = _with_pixels(frame.camera, MOST // len(chosen))
            channels = ("color", "depth", *(["logits"] if field.label_names else []))
            seen = field.render(camera, frame.time, channels)
            points, shown = surface(seen)
            whole = smooth(seen.depth)
            points, shown = points[whole[shown]], shown & whole
            parts["paths"].append(field.trajectories(points, frame.time, self.times))
            parts["colors"].append(seen.color[shown].clamp(0, 1))
            label = torch.full_like(shown, -1, dtype=torch.long) if seen.labels is None else seen.labels
            parts["label"].append(label[shown])
            parts["depths"].append(seen.depth[shown])
            parts["sizes"].append(seen.depth[shown] / camera.K[0, 0].item())
        found = {name: torch.cat(values).cpu() for name, values in parts.items()}
        if len(found["paths"]) == 0:
            raise BadInput(f"{scene.name}: the field shows nothing to the training cameras")
        self.paths, self.colors, self.label = found["paths"], found["colors"], found["label"]
        self.sizes = 0.5 * found["sizes"]  # of half a pixel each, so that they just touch
        self.moves = travel(self.paths, self.paths[:, 0]) > STILL * found["depths"].median()

    @property
    def count(self) -> int:
        return len(self.paths)

    def at(self, time: float) -> GaussianState:
        """The points at ``time``, on straight lines between training times."""
        right = int(torch.searchsorted(self.times, torch.tensor(float(time))).clamp(1, len(self.times) - 1))
        share = ((time - self.times[right - 1]) / (self.times[right] - self.times[right - 1])).clamp(0, 1)
        return GaussianState(
            means=torch.lerp(self.paths[:, right - 1], self.paths[:, right], share),
            quats=torch.tensor([1.0, 0, 0, 0]).repeat(self.count, 1), scales=self.sizes[:, None].expand(-1, 3),
            opacities=torch.ones(self.count), sh=((self.colors - 0.5) / SH_C0)[:, None], features=None,
            time=float(time), background=torch.zeros(3),
        )

    def positions(self, times: Tensor) -> Tensor:
        return torch.stack([self.at(float(time)).means for time in times], 1)

    def semantics(self) -> None:
        """No features: points are told apart by class."""
        return


class SurfelLayers(Layers):
    """A field without Gaussians, its scene and some of its classes, ready to be shown at any time.

    Args:
        classes: names of those whose trajectories are shown; None: all that move.
        count: how many trajectories there are at most, over all classes.
    """

    def __init__(self, field, scene: Scene, classes: list[str] | None = None, count: int = 200):
        self.source = field
        self.numbers = {name: class_number(field, name) for name in classes or []}
        points = Surfels(field, scene)
        if classes is None:
            self.numbers = {
                name: number for number, name in enumerate(field.label_names)
                if (points.label == number).any() and points.moves[points.label == number].float().mean() > 0.5
            }
        super().__init__(points, scene, [self._selected(points, name) for name in self.numbers], count)

    def _selected(self, points: Surfels, name: str) -> Selection:
        scores = (points.label == self.numbers[name]).float()
        if not scores.any():
            raise BadInput(f"{name}: the field shows this class to none of the training cameras looked through")
        return Selection(name, scores > 0.5, scores, 0.5, None, "by its class")

    def semantic_colors(self) -> Tensor | None:
        """Colour of every point by its class, [N, 3]; None for a field that knows no classes."""
        if not self.source.label_names:
            return None
        label = self.field.label
        return torch.where(label[:, None] < 0, torch.full((3,), 0.5), PALETTE[label.clamp_min(0) % len(PALETTE)])

    def object_colors(self, name: str, ids: Tensor) -> Tensor:
        """Colours [P, 3] of trajectories of a class: its own."""
        return paint.vivid(PALETTE[self.numbers[name] % len(PALETTE)].expand(len(ids), 3))

    @torch.no_grad()
    def render(self, camera: Camera, time: float) -> Rendering:
        """The field's own picture and depth from ``camera``."""
        return self.source.render(camera, time, ("color", "depth"))


def keep_nothing(selection: Selection) -> None:
    """What a panel saves objects by, where there are none: BadInput says so."""
    raise BadInput(f"{selection.name}: a class, which the field has learned; there is nothing to save")


def _with_pixels(camera: Camera, count: int) -> Camera:
    """The same view with at most about ``count`` pixels."""
    share = min(1.0, (count / (camera.width * camera.height)) ** 0.5)
    return camera.resized(max(1, round(camera.width * share)), max(1, round(camera.height * share)))
