"""Where a field shows things: their centre over time, and how far they reach."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...scenes import BadInput
from ..edit import Copy
from .clip import Clip
from .render import Rays, trace

MOMENTS = 9  # at which things are looked for
PIXELS = 64  # width of the pictures in which they are
SEEN = 3.0  # pixels of them, at least
SHARE, MARGIN = 0.95, 1.6  # of what is seen of a thing, how much counts; its back is farther from there than its front


@torch.no_grad()
def located(field, clip: Clip, copy: Copy) -> Copy:
    """``copy`` with its centre and reach: of what the training cameras see of its classes in ``clip``.

    The centre is that of the visible surface. BadInput when they are nowhere to be seen.
    """
    chosen = torch.linspace(0, len(clip.times) - 1, min(MOMENTS, len(clip.times))).round().long().unique()
    ids = torch.tensor([field.label_names.index(name) for name in copy.names], device=clip.center.device)
    rows, reaches = [], []
    for index in chosen.tolist():
        points, weights = _surface(field, clip, index, ids)
        if float(weights.sum()) < SEEN:
            continue
        center = (weights[:, None] * points).sum(0) / weights.sum()
        away, order = (points - center).norm(dim=-1).sort()
        passed = weights[order].cumsum(0)
        reaches.append(float(away[int((passed < SHARE * passed[-1]).sum().clamp_max(len(away) - 1))]))
        rows.append((float(clip.times[index]), *center.tolist()))
    if not rows:
        raise BadInput(f"object {', '.join(copy.names)}: the field shows none of it in clip {clip_name(field, clip)}")
    return replace(copy, about=tuple(rows), reach=MARGIN * max(reaches))


def _surface(field, clip: Clip, index: int, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Samples [N, 3] of what a training camera sees, and how many pixels show the classes ``ids`` there [N]."""
    camera = clip.camera(index)
    width = min(PIXELS, camera.width)
    camera = camera.resized(width, max(1, round(camera.height * width / camera.width)))
    center, directions = camera.rays()
    directions = directions.reshape(-1, 3)
    traced = trace(field, clip, Rays(center.expand_as(directions), directions), float(clip.times[index]))
    weights = traced.layers.weights
    moving = weights.joint_dynamic.flatten()[traced.active] * torch.isin(traced.logits.argmax(-1), ids)
    still = weights.joint_static.flatten() * torch.isin(traced.static.logits.argmax(-1), ids)
    return traced.points.view(-1, 3), still.index_add(0, traced.active, moving)


def clip_name(field, clip: Clip) -> str:
    """What the field calls one of its clips."""
    return next(name for name, other in zip(field.names, field.clips, strict=True) if other is clip)
