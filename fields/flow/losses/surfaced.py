"""What a field says of pixels whose depth is known, at the places where they end and before."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..dynamic import Radiance
from ..surface import Surface, draw_surface, unlikely

FREE = 0.9  # of the way to what stands behind something that moves
AHEAD = 0.4
RECENT = 0.25  # of the frames that may be seen, the last ones
EMPTY = 3  # times as many places where nothing is
NEAR = 0.1  # half sizes of the scene


@dataclass
class Surfaced:
    """N pixels and what the branch in training says of them.

    Attributes:
        seen: the pixels. radiance: of where they end, with logits where labels are learned.
        unlikely: [N] negative log-likelihood of that end, and maybe more of rays that only pass.
        empty: [E] shares of the dynamic field where it has none.
    """

    seen: Surface
    radiance: Radiance
    unlikely: Tensor
    empty: Tensor | None = None


def still_surface(c) -> Surfaced | None:
    """Of the static branch: pixels at rest, anywhere in the video; and moving ones, since nothing stands where
    something moves, nor before it, nor most of the way to what stands behind it."""
    field, clip, frame, found = c.field, c.clip, c.batch.frame, c.found
    if found.still is None or not c.config.surface_rays:
        return None
    seen = draw_surface(clip, found, found.still, [found.resting], c.config.surface_rays, c.generator)
    if seen is None:
        return None
    radiance = field.static_radiance(clip, seen.at, seen.directions, frame, learning=c.generator)
    free = draw_surface(clip, found, FREE * found.still, [found.covered], c.config.surface_rays // 2, c.generator)
    before = seen.before if free is None else torch.cat([seen.before, free.before])
    density = field.static.densities(field.embedded(clip, before), field.static_features(clip, before, frame))
    odds = unlikely(radiance.density, density[: len(seen.at)], seen.passed)
    if free is not None:
        odds = torch.cat([odds, density[len(seen.at) :] * free.passed])
    return Surfaced(seen, radiance, odds)


def moving_surface(c) -> Surfaced | None:
    """Of the dynamic branch: pixels of this frame, as many at rest as moving ones.

    ``AHEAD`` of the time, where the video goes on after the frames that may be seen: what moved in one of the last of
    these, at a later time, where its motion would take it; and places where nothing is then.
    """
    found, count = c.found, c.config.surface_rays
    if found.depth is None or not count:
        return None
    later = c.clip.times[found.frames[-1] + 1 :]
    if len(later) and found.nodes is not None and float(torch.rand((), generator=c.generator)) < AHEAD:
        return ahead(c, float(later[torch.randint(len(later), (), generator=c.generator)]))
    seen = draw_surface(c.clip, found, found.depth, found.known(c.batch.index), count, c.generator)
    return None if seen is None else _asked(c, seen, seen.before, c.batch.time)


def ahead(c, time: float) -> Surfaced | None:
    """At a ``time`` after the frames that may be seen: moving pixels of the last of these, where their motion would
    take them."""
    found, count = c.found, c.config.surface_rays // 2
    recent = max(1, round(RECENT * len(found.frames)))
    index = len(found.frames) - recent + int(torch.randint(recent, (), generator=c.generator))
    seen = draw_surface(c.clip, found, found.depth, found.known(index)[1:], count, c.generator)
    still = draw_surface(c.clip, found, found.still, [found.resting], EMPTY * count, c.generator)
    if seen is None or still is None:
        return None
    begin = float(c.clip.times[found.frames[index]])
    moved = found.nodes.to(seen.at.device).moved(seen.at, begin, time)
    # What rests will rest; of rays that end there one knows that they were free, and may believe it of later times
    # where nothing has come by.
    away = torch.cdist(still.before, moved).amin(1) / c.clip.radius
    before = torch.where((away > NEAR)[:, None], still.before, still.at)
    return _asked(c, replace(seen, at=moved, passed=torch.zeros_like(seen.passed)), torch.cat([before, still.at]), time)


def _asked(c, seen: Surface, empty: Tensor, time: float) -> Surfaced:
    """What the dynamic branch says at ``time`` of pixels, and of places where it has no share: those on the way to the
    pixels first."""
    field, clip, count = c.field, c.clip, len(seen.at)
    points = torch.cat([seen.at, empty])
    shown = field.flow(clip, points, time)[1] if c.config.dynamic_features else None
    h, radiance = field.dynamic.radiate(field.code(clip, points, time), shown)
    logits = None
    if seen.label is not None:
        paths, shown = field.flow(clip, seen.at, time)
        logits = field.dynamic.classify(field.flow_code(paths, seen.at, time, clip, shown), h[:count])
    ends = Radiance(radiance.color[:count], radiance.density[:count], radiance.blend[:count], logits)
    odds = unlikely(ends.density, radiance.density[count : 2 * count], seen.passed)
    return Surfaced(seen, ends, odds, radiance.blend[count:])
