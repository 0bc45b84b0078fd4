"""Where a field shows things: their centre over time, and how far they reach."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from ...scenes import BadInput
from ...scenes.scene import spread
from ..edit import Copy
from .clip import Clip
from .render import Rays, Traced, trace

MOMENTS = 9  # at which things are looked for
PIXELS = 64  # width of the pictures in which they are
SEEN = 3.0  # pixels of them, at least
MARGIN = 2.5  # times the median distance of what is seen from its centre, beyond which nothing of a thing is: a ball's
# back is at 2.3 times, the ends of a rod at 2


class Looks:
    """What training cameras of ``clip`` see in the field, spread over its time, in small pictures."""

    def __init__(self, field, clip: Clip):
        self.field, self.clip = field, clip

    @cached_property
    def traced(self) -> dict[float, Traced]:
        """Of each time."""
        chosen = spread(len(self.clip.times), MOMENTS)
        return {float(self.clip.times[index]): _traced(self.field, self.clip, index) for index in chosen}


@torch.no_grad()
def located(looks: Looks, copy: Copy) -> Copy:
    """``copy`` with its centre and reach: of what is seen of its classes.

    The centre is that of the visible surface, a median that few wrong pixels do not move. BadInput when they are
    nowhere to be seen.
    """
    field, clip = looks.field, looks.clip
    ids = torch.tensor([field.label_names.index(name) for name in copy.names], device=clip.center.device)
    rows, reaches = [], []
    for time, traced in looks.traced.items():
        points, weights = _surface(traced, ids)
        if float(weights.sum()) < SEEN:
            continue
        center = torch.stack([_median(axis, weights) for axis in points.unbind(-1)])
        reaches.append(float(_median((points - center).norm(dim=-1), weights)))
        rows.append((time, *center.tolist()))
    if not rows:
        raise BadInput(f"object {', '.join(copy.names)}: the field shows none of it in clip {clip_name(field, clip)}")
    return replace(copy, about=tuple(rows), reach=MARGIN * max(reaches))


@torch.no_grad()
def movers(looks: Looks) -> Tensor:
    """Which classes move, bool [C]: those of which more is seen in the dynamic branch than in the static."""
    found = torch.zeros(2, len(looks.field.label_names), device=looks.clip.center.device)
    for traced in looks.traced.values():
        moving, still = _weights(traced)
        found[0].index_add_(0, traced.logits.argmax(-1), moving)
        found[1].index_add_(0, traced.static.logits.argmax(-1), still)
    return found[0] > found[1]


def _median(values: Tensor, weights: Tensor) -> Tensor:
    """Of values [N] with weights [N]."""
    order = values.argsort()
    passed = weights[order].cumsum(0)
    return values[order[int((passed < 0.5 * passed[-1]).sum().clamp_max(len(order) - 1))]]


def _surface(traced: Traced, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Samples [N, 3] of what a camera sees, and how much they weigh in pixels that show the classes ``ids`` [N]."""
    moving, still = _weights(traced)
    moving = moving * torch.isin(traced.logits.argmax(-1), ids)
    still = still * torch.isin(traced.static.logits.argmax(-1), ids)
    shown = torch.isin(traced.layers.full.values["logits"].argmax(-1), ids)
    weights = still.index_add(0, traced.active, moving).view(traced.depths.shape) * shown[:, None]
    return traced.points.view(-1, 3), weights.flatten()


def _traced(field, clip: Clip, index: int) -> Traced:
    """What a training camera sees, in a small picture."""
    camera = clip.camera(index)
    width = min(PIXELS, camera.width)
    camera = camera.resized(width, max(1, round(camera.height * width / camera.width)))
    center, directions = camera.rays()
    directions = directions.reshape(-1, 3)
    return trace(field, clip, Rays(center.expand_as(directions), directions), float(clip.times[index]))


def _weights(traced: Traced) -> tuple[Tensor, Tensor]:
    """How much is seen of the samples followed in the dynamic branch [A], and of all samples in the static [N]."""
    weights = traced.layers.weights
    return weights.joint_dynamic.flatten()[traced.active], weights.joint_static.flatten()


def clip_name(field, clip: Clip) -> str:
    """What the field calls one of its clips."""
    return next(name for name, other in zip(field.names, field.clips, strict=True) if other is clip)
