"""Edits of a flow field: what its branches say at samples of rays, changed before it is composited (Semantic Flow,
instance-level editing)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from ...scenes import BadInput
from ..edit import Copy, Edit, repainted
from .clip import Clip
from .dynamic import Radiance
from .locate import Looks, located, movers
from .render import Rays, Traced, asked, composited, opaque

NONE = -1  # class of a sample that shows nothing
AROUND = 1.5  # times the reach of a removed thing within which its rim and its shadow are


class Editing:
    """An :class:`..edit.Edit` of a flow field, as :func:`.render.trace` applies it.

    What either branch takes for a removed class has no density, and a removed part of the dynamic branch no blend, so
    that what stands still behind it is seen. Where a removed thing moves, what the dynamic branch shows around it and
    takes for classes that stand, its rim and its shadow, goes with it; what the static branch takes for it is something
    that stands, wrongly classified, and stays. Of each copy, its own video's branches are asked where it comes from,
    and what they show of its classes is seen in front of what is there, at the same depth.

    Attributes:
        edit: with all that is to be found in the field: where copies and what is removed are, and what moves, which is
            asked only where something is removed. clip: the video that is changed.
        movers [C] bool: classes that move in it. gone: where those of them that are removed were.

    Raises BadInput: a class or a video that the field does not know, a copy of which it shows nothing.
    """

    def __init__(self, field, edit: Edit):
        self.field = field
        for name in sorted(edit.names):
            if name not in field.label_names:
                raise BadInput(f"object {name!r}: expected one of {', '.join(field.label_names) or 'no classes'}")
        for name in edit.clips:
            if name not in field.names:
                raise BadInput(f"clip {name!r}: expected one of {', '.join(field.names)}")
        self.clip = self._clip(edit.clip)
        looks = {clip: Looks(field, clip) for clip in (self.clip, *map(self._source, edit.copies))}
        copies = (copy if copy.about else located(looks[self._source(copy)], copy) for copy in edit.copies)
        moving, known = edit.moving, {copy.names: copy for copy in edit.gone}
        if moving is None and edit.removed:
            moving = tuple(field.label_names[k] for k in movers(looks[self.clip]).nonzero()[:, 0].tolist())
        for name in edit.removed:
            if name in moving and (name,) not in known:
                known[name,] = _spot(looks[self.clip], name)
        self.edit = replace(edit, copies=tuple(copies), moving=moving, gone=tuple(known.values()))
        moves = [name in (moving or ()) for name in field.label_names]
        self.movers = torch.tensor(moves, device=self.clip.center.device)
        self.gone = [copy for copy in self.edit.gone if copy.names[0] in edit.removed]

    def _clip(self, name: str | None) -> Clip:
        return self.field.clips[0 if name is None else self.field.names.index(name)]

    def _moves(self, name: str) -> bool:
        return bool(self.movers[self.field.label_names.index(name)])

    def _source(self, copy: Copy) -> Clip:
        return self.clip if copy.clip is None else self._clip(copy.clip)

    def __call__(self, traced: Traced, rays: Rays, time: float) -> Traced:
        """What is said of samples of ``rays``, edited: 1 + number of copies samples in place of each."""
        parts = [self._own(traced, rays, time)]
        parts += [self._copied(copy, traced, rays, time) for copy in self.edit.copies]
        return _side_by_side(parts)

    def weights(self, traced: Traced, rays: Rays, time: float) -> Tensor:
        """Weights [R, M] of samples in the edited joint rendering."""
        weights = composited(self(traced, rays, time), self.field.config).weights
        return (weights.joint_dynamic + weights.joint_static).unflatten(1, (traced.depths.shape[1], -1)).sum(-1)

    def trajectories(self, points: Tensor, time: float, times: Tensor) -> Tensor:
        """Where the matter at ``points`` [P, 3] at ``time`` is at ``times`` [T], edited: [P, T, 3]."""
        field, up = self.field, self.edit.up
        own = _said_at(field, self.clip, points, time)
        gone = self._are(_class_of(own), self.edit.removed)
        out = field.followed(self.clip, points, time, times)
        out[gone] = points[gone, None]
        most = torch.where(gone, 0.0, own.dynamic.density * own.dynamic.blend)
        for copy in self.edit.copies:
            source, moment = self._source(copy), copy.moment(time)
            there = copy.back(points, moment, up)
            near = (there - copy.center(moment).to(there)).norm(dim=-1) < (copy.reach or torch.inf)
            density = self._things(_said_at(field, source, there, moment), copy).density * near
            density = density * (self.clip.radius / source.radius / copy.scale)
            mine = density > most
            if not mine.any():
                continue
            moments = [copy.moment(float(t)) for t in times]
            followed = field.followed(source, there[mine], moment, times.new_tensor(moments))
            shown = [copy.forth(followed[:, k], moments[k], up) for k in range(len(moments))]
            out[mine], most = torch.stack(shown, 1), torch.where(mine, density, most)
        return out

    def _own(self, traced: Traced, rays: Rays, time: float) -> Traced:
        """What is there, without what is removed, before the background of choice."""
        logits = traced.spread(traced.logits).flatten(0, 1)
        static = traced.static if self.edit.background is None else self._background(traced, rays, time)
        dynamic = traced.dynamic._replace(color=self._colored(traced.dynamic.color, _class_of(traced)))
        static = static._replace(color=self._colored(static.color, static.logits.argmax(-1)))
        left = ~(self._are(_class_of(traced), self.edit.removed) | self._around(traced, time))
        dynamic = dynamic._replace(density=dynamic.density * left, blend=dynamic.blend * left)
        standing = [name for name in self.edit.removed if not self._moves(name)]
        static = static._replace(density=static.density * ~self._are(static.logits.argmax(-1), standing))
        return replace(traced, dynamic=dynamic._replace(logits=logits), static=static)

    def _around(self, traced: Traced, time: float) -> Tensor:
        """Samples [R M] about a removed thing that moves, unless they are of another."""
        points = traced.points.flatten(0, 1)
        near = torch.zeros(len(points), dtype=torch.bool, device=points.device)
        for spot in self.gone:
            near |= (points - spot.center(time).to(points)).norm(dim=-1) < AROUND * spot.reach
        return near & ~torch.isin(_class_of(traced), self.movers.nonzero()[:, 0])

    def _background(self, traced: Traced, rays: Rays, time: float) -> Radiance:
        other = self._clip(self.edit.background)
        directions = torch.nn.functional.normalize(rays.directions, dim=-1)[:, None].expand_as(traced.points)
        static = self.field.static_radiance(
            other, traced.points.flatten(0, 1), directions.flatten(0, 1), other.frame(time)
        )
        return static._replace(density=static.density * (self.clip.radius / other.radius))

    def _copied(self, copy: Copy, traced: Traced, rays: Rays, time: float) -> Traced:
        """What is seen of a copy at the same depths: all in the dynamic branch, nothing in the static."""
        source, moment, up = self._source(copy), copy.moment(time), self.edit.up
        origins = copy.back(rays.origins, moment, up)
        there = Rays(origins, copy.back(rays.origins + rays.directions, moment, up) - origins)
        away = copy.back(traced.points, moment, up) - copy.center(moment).to(origins)
        near = away.norm(dim=-1) < (torch.inf if copy.reach is None else copy.reach)
        # The last sample of a ray stands for all that is beyond, where no copy is.
        lengths = torch.cat([traced.lengths[:, :-1], torch.zeros_like(traced.lengths[:, -1:])], 1)
        lengths = lengths * (self.clip.radius / source.radius / copy.scale)
        color, density = torch.zeros_like(traced.points), torch.zeros_like(traced.depths)
        logits = color.new_zeros(*density.shape, len(self.field.label_names))
        rows = near.any(1).nonzero()[:, 0]
        if len(rows):
            said = asked(
                self.field, source, Rays(there.origins[rows], there.directions[rows]), traced.depths[rows],
                lengths[rows], moment, choose=opaque,
            )
            shown = self._things(said, copy)
            shape = len(rows), density.shape[1]
            density[rows] = shown.density.view(shape) * near[rows]
            color[rows], logits[rows] = shown.color.view(*shape, 3), shown.logits.view(*shape, -1)
        whole = Radiance(color.flatten(0, 1), density.flatten(), torch.ones_like(density).flatten(),
                         logits.flatten(0, 1))
        nothing = Radiance(*(torch.zeros_like(part) for part in whole))
        return replace(traced, lengths=lengths, dynamic=whole, static=nothing)

    def _things(self, said: Traced, copy: Copy) -> Radiance:
        """What both branches show of the copied classes, by how much of each is seen."""
        moving, still = _class_of(said), said.static.logits.argmax(-1)
        dynamic = said.dynamic.density * said.dynamic.blend * self._are(moving, copy.names)
        static = said.static.density * (1 - said.dynamic.blend) * self._are(still, copy.names)
        density = dynamic + static
        share = (dynamic / density.clamp_min(1e-12))[:, None]

        def mixed(one: Tensor, other: Tensor) -> Tensor:
            return share * one + (1 - share) * other

        color = mixed(self._colored(said.dynamic.color, moving), self._colored(said.static.color, still))
        return Radiance(color, density, None, mixed(said.spread(said.logits).flatten(0, 1), said.static.logits))

    def _are(self, classes: Tensor, names: Iterable[str]) -> Tensor:
        """Which of ``classes`` [N] are called one of ``names``, bool [N]."""
        ids = [self.field.label_names.index(name) for name in names]
        return torch.isin(classes, torch.tensor(ids, dtype=classes.dtype, device=classes.device))

    def _colored(self, colors: Tensor, classes: Tensor) -> Tensor:
        for name, color in self.edit.recoloured.items():
            colors = torch.where(self._are(classes, [name])[:, None], repainted(colors, color), colors)
        return colors


def _spot(looks: Looks, name: str) -> Copy:
    """Where a removed thing was; of one that is hardly seen, nowhere: without reach."""
    try:
        return located(looks, Copy((name,)))
    except BadInput:
        return Copy((name,), reach=0.0)


def _said_at(field, clip: Clip, points: Tensor, time: float) -> Traced:
    """What the branches say at ``points`` [P, 3], as samples of one each of as many rays."""
    one = points.new_ones(len(points), 1)
    directions = torch.nn.functional.normalize(points - clip.camera(clip.frame(time)).center, dim=-1)
    return asked(field, clip, Rays(points - directions, directions), one, one, time, choose=opaque)


def _class_of(traced: Traced) -> Tensor:
    """What the dynamic branch takes each sample for, int64 [R M]; ``NONE`` of what was not classified."""
    classes = torch.full((traced.depths.numel(),), NONE, device=traced.depths.device)
    return classes.index_copy(0, traced.active, traced.logits.argmax(-1))


def _side_by_side(parts: list[Traced]) -> Traced:
    """Samples of several, in turn along each ray; their dynamic radiances have logits of all samples."""
    rays, count = parts[0].depths.shape

    def woven(values: list[Tensor]) -> Tensor:
        shaped = [value.reshape(rays, count, *value.shape[1:]) for value in values]
        return torch.stack(shaped, 2).flatten(0, 2)

    def branch(said: list[Radiance]) -> Radiance:
        return Radiance(*(None if part[0] is None else woven(list(part)) for part in zip(*said, strict=True)))

    dynamic = branch([part.dynamic for part in parts])
    static = branch([part.static._replace(blend=None) for part in parts])
    depths, lengths = (
        torch.stack([getattr(part, name) for part in parts], 2).flatten(1) for name in ("depths", "lengths")
    )
    points = parts[0].points.repeat_interleave(len(parts), 1)
    active = torch.arange(depths.numel(), device=depths.device)
    return Traced(None, points, depths, lengths, dynamic._replace(logits=None), static, active, None, dynamic.logits)
