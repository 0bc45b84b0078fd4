"""What a field says of pixels whose depth is known, at the places where they end and before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..dynamic import Radiance
from ..surface import Surface, draw_surface, unlikely

if TYPE_CHECKING:
    from .context import Context

FREE = 0.9  # of the way to what stands behind something that moves


@dataclass
class Surfaced:
    """N pixels and what the branch in training says of them.

    Attributes:
        seen: the pixels. radiance: of where they end, with logits where labels are learned.
        unlikely: [N] negative log-likelihood of that end, and maybe more of rays that only pass.
        before: [N] share of the dynamic field on the way there.
    """

    seen: Surface
    radiance: Radiance
    unlikely: Tensor
    before: Tensor | None = None


def still_surface(c: Context) -> Surfaced | None:
    """Of the static branch: pixels at rest, anywhere in the video; and moving ones, since nothing stands where
    something moves, nor before it, nor most of the way to what stands behind it."""
    field, clip, frame, found = c.field, c.clip, c.batch.frame, c.found
    if found.still is None or not c.config.surface_rays:
        return None
    seen = draw_surface(clip, found, found.still, [found.resting], c.config.surface_rays, c.generator)
    if seen is None:
        return None
    radiance = field.static_radiance(clip, seen.at, seen.directions, frame)
    free = draw_surface(clip, found, found.still, [found.covered], c.config.surface_rays // 2, c.generator, FREE)
    before = seen.before if free is None else torch.cat([seen.before, free.before])
    density = field.static.densities(field.embedded(clip, before), field.static_features(clip, before, frame))
    odds = unlikely(radiance.density, density[: len(seen.at)], seen.passed)
    if free is not None:
        odds = torch.cat([odds, density[len(seen.at) :] * free.passed])
    return Surfaced(seen, radiance, odds)


def moving_surface(c: Context) -> Surfaced | None:
    """Of the dynamic branch: pixels of this frame, as many at rest as moving ones.

    Not where the video goes on after the frames that may be seen: a branch that is so sure of these draws as surely at
    later times, and hides with it what stands still.
    """
    found, count = c.found, c.config.surface_rays
    if found.depth is None or not count or found.frames[-1] + 1 < len(c.clip.times):
        return None
    seen = draw_surface(c.clip, found, found.depth, found.known(c.batch.index), count, c.generator)
    if seen is None:
        return None
    field, clip, time, count = c.field, c.clip, c.batch.time, len(seen.at)
    points = torch.cat([seen.at, seen.before])
    shown = field.flow(clip, points, time)[1] if c.config.dynamic_features else None
    h, radiance = field.dynamic.radiate(field.code(clip, points, time), shown)
    logits = None
    if seen.label is not None:
        paths, shown = field.flow(clip, seen.at, time)
        logits = field.dynamic.classify(field.flow_code(paths, seen.at, time, clip, shown), h[:count])
    ends = Radiance(radiance.color[:count], radiance.density[:count], radiance.blend[:count], logits)
    return Surfaced(seen, ends, unlikely(ends.density, radiance.density[count:], seen.passed), radiance.blend[count:])
