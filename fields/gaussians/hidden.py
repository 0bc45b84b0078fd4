"""What lies behind or within a thing and has hardly been seen but through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...scenes import Camera

SUPPORTED = 0.1  # seen beside the thing, at least so much of what is seen of a Gaussian once the thing is gone
ROUNDS = 3  # what is hidden may hide more
SHOWN = 0.5  # share of a pixel that the thing makes up where it is seen


@torch.no_grad()
def hidden(field, thing: Tensor, views: Sequence[tuple[Camera, float]]) -> Tensor:
    """The Gaussians that go with a thing when it is removed, without being of it, [N] bool.

    A moving thing that is a little transparent has been fitted with what stands behind it, in its own colours: fog that
    no picture shows by itself. A Gaussian is hidden where what ``views`` see of it beside the thing is a small share of
    what they would see of it in the thing's place.

    Args:
        thing: the Gaussians that are removed, [N] bool. views: cameras and times of the pictures fitted.
    """
    masks, beside = [], torch.zeros(len(thing), device=thing.device)
    for camera, time in views:
        state = field.posed(time)
        shown = state.render(camera, (), thing.to(state.means)[:, None]).values[..., 0] > SHOWN
        beside += state.uplift((~shown).to(state.means)[..., None], camera)[0][:, 0]
        masks.append(shown)
    gone = thing.clone()
    for _ in range(ROUNDS):
        revealed = torch.zeros_like(beside)
        for (camera, time), shown in zip(views, masks, strict=True):
            state = field.posed(time)
            state = replace(state, opacities=torch.where(gone, 0.0, state.opacities))
            revealed += state.uplift(shown.to(state.means)[..., None], camera)[0][:, 0]
        more = ~gone & (beside < SUPPORTED * revealed)
        if not more.any():
            break
        gone |= more
    return gone & ~thing
