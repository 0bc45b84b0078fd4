"""Rays through a flow field: where it is asked, what its branches say there, and how that becomes a picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ...kernels.composite import composite_static_dynamic
from ...kernels.composite.static_dynamic import StaticDynamic
from .. import sampling
from .clip import Clip
from .config import NONE
from .dynamic import Radiance
from .paths import Paths

CLEAR = 1e-3  # opacity of a sample below which nobody sees what it is


@dataclass
class Rays:
    """R rays: origins [R, 3], directions [R, 3] with unit z in their camera."""

    origins: Tensor
    directions: Tensor


@dataclass
class Traced:
    """What R rays met at M samples each, and what that looks like.

    Attributes:
        layers: joint rendering and those of either branch, with ``color`` [R, 3], ``logits`` [R, C]; None before.
        points [R, M, 3], depths [R, M] (z-depth), lengths [R, M] in half sizes of the scene.
        dynamic, static: what the branches say at the R M samples, without logits.
        active: [A] which of the R M samples were followed. paths, logits [A, C], codes [A, width]: of these; None where
            nothing was followed.
    """

    layers: StaticDynamic
    points: Tensor
    depths: Tensor
    lengths: Tensor
    dynamic: Radiance
    static: Radiance
    active: Tensor
    paths: Paths | None = None
    logits: Tensor | None = None

    def spread(self, values: Tensor) -> Tensor:
        """Values [A, D] of the samples followed, 0 at all others: [R, M, D]."""
        whole = values.new_zeros(self.depths.numel(), values.shape[-1])
        return whole.index_copy(0, self.active, values).view(*self.depths.shape, -1)


def place(field, clip: Clip, rays: Rays, time: float, jitter: torch.Generator | None,
          edit=None) -> tuple[Tensor, Tensor]:
    """Depths and lengths of samples, [R, M] each: where densities alone, asked first, are large; those after an
    ``edit``, where there is one."""
    config = field.config
    like, count = rays.origins, len(rays.origins)
    if config.proposals:
        with torch.no_grad():
            borders = sampling.even(count, config.proposals, jitter, like)
            depths, lengths = _between(clip, rays, borders, config.spacing)
            if edit is None:
                weights = field.densities(clip, _points(rays, depths).view(-1, 3), time, depths, lengths)
            else:
                weights = edit.weights(asked(field, clip, rays, depths, lengths, time, choose=opaque), rays, time)
            borders = sampling.again(borders, weights, config.samples, jitter)
    else:
        borders = sampling.even(count, config.samples, jitter, like)
    return _between(clip, rays, borders, config.spacing)


def _between(clip: Clip, rays: Rays, borders: Tensor, spacing: str) -> tuple[Tensor, Tensor]:
    edges = sampling.depth_at(borders, float(clip.near), float(clip.far), spacing)
    lengths = edges.diff(dim=1) * rays.directions.norm(dim=-1, keepdim=True) / clip.radius
    lengths = torch.cat([lengths[:, :-1], torch.full_like(lengths[:, -1:], sampling.LAST)], 1)
    return 0.5 * (edges[:, 1:] + edges[:, :-1]), lengths


def _points(rays: Rays, depths: Tensor) -> Tensor:
    return rays.origins[:, None] + rays.directions[:, None] * depths[..., None]


def trace(field, clip: Clip, rays: Rays, time: float, jitter: torch.Generator | None = None, logits: bool = True,
          frame: int | None = None, edit=None) -> Traced:
    """Follow ``rays`` through ``field`` at ``time`` (Semantic Flow, section 2.7 of its rendering).

    Args:
        jitter: stratified sampling with this generator; None: samples lie even, as in rendering.
        logits: whether semantics are asked for.
        frame: whose features the static branch reads; None: the nearest in time.
        edit: changes what the branches say before compositing, an :class:`.editing.Editing`. Then whatever is not
            clear is followed and classified.
    """
    config = field.config
    depths, lengths = place(field, clip, rays, time, jitter, edit)
    noise = 1.0 if jitter is not None and config.density == "relu" else 0.0
    if edit is None:
        result = asked(field, clip, rays, depths, lengths, time, noise, logits, frame, learning=jitter is not None)
    else:
        result = edit(asked(field, clip, rays, depths, lengths, time, noise, True, frame, opaque), rays, time)
    result.layers = composited(result, config)
    return result


def asked(field, clip: Clip, rays: Rays, depths: Tensor, lengths: Tensor, time: float, noise: float = 0.0,
          logits: bool = True, frame: int | None = None, choose=None, learning: bool = False) -> Traced:
    """What the branches say at samples of ``rays`` in ``depths`` [R, M], of ``lengths`` [R, M]; not composited yet.

    ``choose(dynamic, static, lengths)`` says which samples are followed and classified, unless all are; None: those
    that weigh most. Unless ``learning``, what stands where no labelled picture shows it is classified as what moves is.
    Other arguments as of :func:`trace`.
    """
    config = field.config
    points = _points(rays, depths)
    flat = points.reshape(-1, 3)
    directions = torch.nn.functional.normalize(rays.directions, dim=-1)[:, None].expand_as(points).reshape(-1, 3)
    shape = depths.shape
    static = field.static_radiance(clip, flat, directions, clip.frame(time) if frame is None else frame, noise)
    code = field.code(clip, flat, time)
    paths = shown = None
    active = torch.arange(len(flat), device=flat.device)
    if config.dynamic_features or config.flow_share >= 1:
        paths, shown = field.flow(clip, flat, time)
    h, dynamic = field.dynamic.radiate(code, shown if config.dynamic_features else None, noise)
    if logits and paths is None:
        active = (choose or partial(_heaviest, share=config.flow_share))(dynamic, static, lengths)
        paths, shown = field.flow(clip, flat[active], time)
    scores = None
    if logits:
        if not learning:
            static = static._replace(logits=_static_logits(field, clip, flat, static, dynamic, h, lengths, time))
        chosen = slice(None) if len(active) == len(flat) else active
        flow_code = field.flow_code(paths, flat[chosen], time, clip, shown)
        scores = field.dynamic.classify(flow_code, h[chosen])
        if field.ray_attention is not None and len(active) == len(flat):
            scores = field.ray_attention(scores.view(*shape, -1)).flatten(0, 1)
    return Traced(None, points, depths, lengths, dynamic, static, active, paths, scores)


def _static_logits(field, clip: Clip, points: Tensor, static: Radiance, dynamic: Radiance, h: Tensor, lengths: Tensor,
                   time: float) -> Tensor:
    """Logits [P, C] of the static branch at ``points`` [P, 3], and at those that no labelled picture shows what the
    features say that the nearest frame in time shows there: the branch has learned no class."""
    if field.config.encoder == NONE:
        return static.logits
    visible = _joint_weights(dynamic, static, lengths)[1].flatten() > CLEAR
    hidden = (visible & ~clip.shows(points)).nonzero()[:, 0]
    logits, frames = static.logits, clip.watching(points[hidden], time)
    for frame in frames.unique().tolist():
        chosen = hidden[frames == frame]
        moment = float(clip.times[frame]) if frame != clip.frame(time) else time
        paths, shown = field.flow(clip, points[chosen], moment)
        code = field.flow_code(paths, points[chosen], moment, clip, shown)
        logits = logits.index_copy(0, chosen, field.dynamic.classify(code, h[chosen]))
    return logits


def trace_static(field, clip: Clip, rays: Rays, time: float, jitter: torch.Generator | None = None,
                 frame: int | None = None) -> Traced:
    """As :func:`trace`, of the static branch alone: while it trains alone, there is nothing else."""
    depths, lengths = place(field, clip, rays, time, jitter)
    points = _points(rays, depths)
    flat, shape = points.reshape(-1, 3), depths.shape
    noise = 1.0 if jitter is not None and field.config.density == "relu" else 0.0
    directions = torch.nn.functional.normalize(rays.directions, dim=-1)[:, None].expand_as(points).reshape(-1, 3)
    static = field.static_radiance(clip, flat, directions, clip.frame(time) if frame is None else frame, noise)
    empty = torch.zeros_like(static.density)
    nothing = Radiance(torch.zeros_like(static.color), empty, empty)
    result = Traced(None, points, depths, lengths, nothing, static, flat.new_zeros(0, dtype=torch.long))
    values = {"color": static.color.view(*shape, 3), "logits": static.logits.view(*shape, -1)}
    others = {name: torch.zeros_like(value) for name, value in values.items()}
    zero = torch.zeros_like(depths)
    result.layers = composite_static_dynamic(zero, static.density.view(shape), zero, others, values, depths, lengths)
    return result


@torch.no_grad()
def _heaviest(dynamic: Radiance, static: Radiance, lengths: Tensor, share: float) -> Tensor:
    """Which samples weigh most in the dynamic and the joint rendering: ascending indices of a ``share`` of all."""
    alpha = 1 - torch.exp(-dynamic.density.view(lengths.shape) * lengths)
    alone = alpha * _passed(1 - alpha)
    weight = (_joint_weights(dynamic, static, lengths)[0] + 0.1 * alone).flatten()
    count = max(1, int(share * len(weight)))
    return weight.topk(count).indices.sort().values


def _joint_weights(dynamic: Radiance, static: Radiance, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Of the samples' dynamic and static parts in the joint rendering, [R, M] each."""
    blend = dynamic.blend.view(lengths.shape)
    own = blend * (1 - torch.exp(-dynamic.density.view(lengths.shape) * lengths))
    other = (1 - blend) * (1 - torch.exp(-static.density.view(lengths.shape) * lengths))
    passed = _passed((1 - own) * (1 - other))
    return own * passed, other * passed


@torch.no_grad()
def opaque(dynamic: Radiance, static: Radiance, lengths: Tensor) -> Tensor:
    """At which samples the dynamic field is not clear: ascending indices, at least one."""
    alpha = (1 - torch.exp(-dynamic.density * lengths.flatten())) * dynamic.blend
    return (alpha >= alpha.amax().clamp_max(CLEAR)).nonzero()[:, 0]


def _passed(clear: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(clear[:, :1]), clear[:, :-1].cumprod(1)], 1)


def composited(traced: Traced, config) -> StaticDynamic:
    """The pictures of what the samples say."""
    shape = traced.depths.shape
    dynamic = {"color": traced.dynamic.color.view(*shape, 3)}
    static = {"color": traced.static.color.view(*shape, 3)}
    if traced.logits is not None:
        dynamic["logits"] = traced.spread(traced.logits)
        static["logits"] = traced.static.logits.view(*shape, -1)
    blend = traced.dynamic.blend.view(shape)
    layers = composite_static_dynamic(
        traced.dynamic.density.view(shape), traced.static.density.view(shape), blend, dynamic, static, traced.depths,
        traced.lengths,
    )
    if config.density_prior != "opacity" and traced.logits is not None:
        layers = _without_prior(layers, dynamic["logits"], static["logits"], blend, config.density_prior)
    return layers


def _without_prior(layers: StaticDynamic, dynamic: Tensor, static: Tensor, blend: Tensor, how: str) -> StaticDynamic:
    """Logits of the ablations: the mean of all samples, or the first."""
    def pooled(values: Tensor) -> Tensor:
        return values.mean(1) if how == "mean" else values[:, 0]

    share = blend[..., None]
    logits = [share * dynamic + (1 - share) * static, dynamic, static]
    changed = [
        layer._replace(values={**layer.values, "logits": pooled(scores)})
        for layer, scores in zip(layers[:3], logits, strict=True)
    ]
    return layers._replace(full=changed[0], dynamic=changed[1], static=changed[2])
