"""What the viewer shows at a time, as plain arrays; nothing here knows how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ...fields.gaussians.color import mean_color
from ...fields.gaussians.state import GaussianState
from ...fields.rendering import Rendering
from ...scenes import BadInput, Camera, Frame, Scene
from ...scenes.teachers.pca import pca_colors
from ..likeness import Likeness
from ..pictures import PALETTE
from ..selection import Selection
from . import colors as paint
from .framing import seen_by


@dataclass
class Points:
    """Spheres: ``ids`` [M] of their Gaussians, ``positions`` [M, 3], ``colors`` [M, 3] in 0..1 and
    ``radii`` [M] in scene units."""

    ids: Tensor
    positions: Tensor
    colors: Tensor
    radii: Tensor

    def subset(self, keep: Tensor) -> Points:
        """Those that the boolean mask ``keep`` [M] names."""
        return Points(
            self.ids[keep], self.positions[keep], self.colors[keep], self.radii[keep]
        )


@dataclass
class Curves:
    """Trajectories as a network of segments.

    Attributes:
        ids: Gaussians followed, [P].
        nodes: [P*T, 3], trajectory after trajectory; those of a later time wait at the present one,
            so that a trajectory grows while its number of nodes stays.
        edges: [P*(T-1), 2] indices into ``nodes``.
        colors: of the nodes, [P*T, 3]; pale in the past, full at the end.
        heads: where the Gaussians are now, [P, 3]; ``head_colors`` [P, 3].
    """

    ids: Tensor
    nodes: Tensor
    edges: Tensor
    colors: Tensor
    heads: Tensor
    head_colors: Tensor


class Layers:
    """A field, its scene and its objects, ready to be shown at any time.

    Args:
        field: has ``at``, ``positions`` and ``semantics`` as a ``GaussianField`` has.
        scene: its cameras and times.
        selections: objects by order of appearance.
        count: how many trajectories there are at most, over all objects.
    """

    def __init__(self, field, scene: Scene, selections: list[Selection], count: int = 200):
        self.field, self.scene, self.count = field, scene, count
        self.selections = {selection.name: selection for selection in selections}
        self.times = torch.tensor(scene.times)
        # Kept, since the viewer asks for them at every frame it draws.
        self._paths: Tensor | None = None
        self._semantic: Tensor | None = None
        self._posed: GaussianState | None = None
        self._followed: dict[str, tuple[dict, Tensor, Tensor]] = {}
        for selection in selections:
            self._check(selection)

    def _check(self, selection: Selection) -> None:
        if len(selection.selected) != self.field.count:
            raise BadInput(
                f"{selection.name}: selects among {len(selection.selected)} Gaussians, "
                f"the field has {self.field.count}"
            )

    @property
    def colorings(self) -> list[str]:
        """Ways to colour the Gaussians: color, semantics where there are any, names of objects."""
        semantics = ["semantics"] if self.semantic_colors() is not None else []
        return ["color", *semantics, *self.selections]

    def add(self, selection: Selection) -> None:
        """Show another object, or the same at another threshold."""
        self._check(selection)
        self.selections[selection.name] = selection

    def cuts(self) -> dict[str, tuple[float, int]]:
        """Threshold and number of Gaussians of each object: what tells that one has changed."""
        return {
            name: (selection.threshold, int(selection.selected.sum()))
            for name, selection in self.selections.items()
        }

    def state(self, time: float) -> GaussianState:
        """The Gaussians at ``time``."""
        if self._posed is None or self._posed.time != time:
            self._posed = self.field.at(time)
        return self._posed

    @torch.no_grad()
    def points(
        self, time: float, coloring: str = "color", opacity: float = 0.1, dim: float = 0.0
    ) -> Points:
        """Gaussians of at least ``opacity`` at ``time``, coloured by one of :attr:`colorings`.

        Those of no object are made paler by ``dim`` (0..1).
        A radius is the geometric mean of a Gaussian's standard deviations, held below four times
        their median so that no background Gaussian hides the scene.
        """
        state = self.state(time)
        ids = (state.opacities.cpu() >= opacity).nonzero()[:, 0]
        radii = state.scales.clamp_min(1e-12).log().mean(-1).exp().cpu()[ids]
        if len(radii):
            radii = radii.clamp(max=4 * radii.median().item())
        if coloring == "color":
            colors = mean_color(state.sh.cpu())
        elif coloring == "semantics" and self.semantic_colors() is not None:
            colors = self.semantic_colors()
        elif coloring in self.selections:
            selection = self.selections[coloring]
            colors = paint.scored(selection.scores, selection.threshold)
        else:
            raise BadInput(f"coloring: expected {', '.join(self.colorings)}, got {coloring!r}")
        if dim and self.selections:
            chosen = torch.stack([s.selected for s in self.selections.values()]).any(0)
            colors = torch.where(chosen[:, None], colors, paint.toward(colors, 1.0, dim))
        return Points(ids, state.means.cpu()[ids], colors[ids], radii)

    @cached_property
    def likeness(self) -> Likeness:
        """Features that clicks are compared by; BadInput for a field without semantics."""
        return Likeness.of(self.field)

    @cached_property
    def unit_features(self) -> Tensor:
        """Features of length 1, each averaged over its neighbourhood, [N, D]."""
        return torch.nn.functional.normalize(self.likeness.features.cpu(), dim=-1)

    def semantic_colors(self) -> Tensor | None:
        """Colour of every Gaussian by the principal components of its feature, [N, 3]; None for a
        field without semantics."""
        if self._semantic is None and self.field.semantics() is not None:
            self._semantic, _ = pca_colors(self.unit_features)
        return self._semantic

    def paths(self) -> Tensor:
        """Centres of all Gaussians at the training times, [N, T, 3]; computed once."""
        if self._paths is None:
            self._paths = self.field.positions(self.times).detach().cpu()
        return self._paths

    @torch.no_grad()
    def curves(self, name: str, time: float) -> Curves:
        """Trajectories of the object ``name`` up to ``time``, coloured by semantics."""
        ids, colors = self.followed(name)
        heads = self.state(time).means.cpu()[ids]
        past = self.times <= time
        nodes = torch.where(past[None, :, None], self.paths()[ids], heads[:, None])
        steps = len(self.times)
        first = torch.arange(len(ids) * steps).reshape(len(ids), steps)[:, :-1].reshape(-1)
        begin, end = self.times[0].item(), max(time, self.times[0].item() + 1e-9)
        age = ((end - self.times) / (end - begin)).clamp(0, 1)
        faded = paint.toward(colors[:, None], 1.0, 0.65 * age[None, :, None])
        return Curves(
            ids, nodes.reshape(-1, 3), torch.stack([first, first + 1], -1), faded.reshape(-1, 3),
            heads, colors,
        )

    def followed(self, name: str) -> tuple[Tensor, Tensor]:
        """Gaussians of an object that are followed, and their colours: ids [P], [P, 3].

        The object's share of ``count``, spread evenly over it, solid ones first.
        """
        cuts = self.cuts()
        known = self._followed.get(name)
        if known is None or known[0] != cuts:
            share = max(1, self.count // len(self.selections))
            opacities = self.state(self.scene.times[0]).opacities.cpu()
            ids = spread_ids(self.paths(), self.selections[name].selected, opacities, share)
            self._followed[name] = (cuts, ids, self.object_colors(name, ids))
        return self._followed[name][1:]

    def object_colors(self, name: str, ids: Tensor) -> Tensor:
        """Colours [P, 3] of trajectories of an object: by semantics, or one for the object.

        Here the principal components are those of the objects and as many Gaussians of the rest,
        so that parts differ in colour although the background has far more Gaussians. A weak
        component is stretched less than to the full range: it may be nothing but noise.
        """
        if self.field.semantics() is None:
            index = list(self.selections).index(name) % len(PALETTE)
            return PALETTE[index].expand(len(ids), 3)
        features = self.unit_features
        chosen = torch.stack([s.selected for s in self.selections.values()]).any(0)
        inside, outside = chosen.nonzero()[:, 0], (~chosen).nonzero()[:, 0]
        outside = outside[:: max(1, len(outside) // max(1, len(inside)))]
        _, basis = pca_colors(features[torch.cat([inside, outside])])
        span = basis.high - basis.low
        widen = (span.max() / 3 - span).clamp_min(0) / 2
        basis = replace(basis, low=basis.low - widen, high=basis.high + widen)
        return paint.vivid(pca_colors(features[ids], basis)[0])

    @torch.no_grad()
    def focus(self, time: float, opacity: float = 0.1) -> Tensor:
        """Points [P, 3] that a picture should have in it: all places of the objects' solid
        Gaussians, or, without objects, the Gaussians that the training cameras see."""
        if self.selections:
            chosen = torch.stack([s.selected for s in self.selections.values()]).any(0)
            ids = spread_ids(self.paths(), chosen, self.state(time).opacities.cpu(), self.count)
            return self.paths()[ids].reshape(-1, 3)
        positions = self.points(time, opacity=opacity).positions
        seen = seen_by(self.scene, positions)
        return positions[seen] if seen.any() else positions

    def frames(self, most: int = 12) -> list[Frame]:
        """Training frames whose cameras are shown, evenly over time."""
        frames = self.scene.split("train")
        chosen = torch.linspace(0, len(frames) - 1, most).long().unique()
        return [frames[i] for i in chosen.tolist()]

    @torch.no_grad()
    def render(self, camera: Camera, time: float) -> Rendering:
        """The field's own picture and depth from ``camera``, on black."""
        state = self.state(time)
        state = replace(state, background=torch.zeros_like(state.background))
        return state.render(camera, channels=("color", "depth"))


def spread_ids(paths: Tensor, selected: Tensor, opacities: Tensor, count: int) -> Tensor:
    """At most ``count`` of the ``selected`` [N] Gaussians, evenly over the object, [P] ascending.

    Only Gaussians at least as opaque as the median of the selected are considered, if they are
    enough. Farthest point sampling, by distance at the middle of ``paths`` [N, T, 3].
    """
    ids = selected.cpu().nonzero()[:, 0]
    if len(ids) <= count:
        return ids
    solid = ids[opacities[ids] >= opacities[ids].median()]
    ids = solid if len(solid) >= count else ids
    points = paths[ids, paths.shape[1] // 2]
    chosen = torch.zeros(count, dtype=torch.long)
    chosen[0] = (points - points.mean(0)).norm(dim=-1).argmin()
    distance = (points - points[chosen[0]]).norm(dim=-1)
    for k in range(1, count):
        chosen[k] = distance.argmax()
        distance = torch.minimum(distance, (points - points[chosen[k]]).norm(dim=-1))
    return ids[chosen].sort().values
