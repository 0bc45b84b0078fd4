"""Losses of the velocity field."""

from __future__ import annotations

import torch
from torch import Tensor

from .context import Context, mean

TRACKS = 256  # looked at in a step
FARTHEST = 10.0  # pixels of error that count


def _total(terms, c: Context) -> Tensor:
    return sum(terms, c.nothing)


def optical(c: Context) -> Tensor:
    """Mean absolute difference, in pixels, of the video's optical flow and that of where the dynamic branch's matter
    is one frame ahead and back, on moving pixels where the video's is consistent."""
    weights = c.traced.layers.weights.dynamic
    total = c.over_rays(weights, torch.ones_like(c.points[:, :1]))
    terms = []
    for side, (flow, valid) in zip((1, -1), c.batch.flows, strict=True):
        if side not in c.moved:
            continue
        place = c.over_rays(weights, c.moved[side]) / total.clamp_min(1e-3)
        pixels, depth = c.clip.camera(c.frame(side)).project(place)
        seen = valid & c.batch.moving & (depth > 1e-3) & (total[:, 0] > 0.2)
        error = torch.where(seen[:, None], pixels - c.batch.pixels.to(pixels) - flow, 0.0).abs()
        terms.append(mean(error.clamp_max(FARTHEST), seen))
    return _total(terms, c)


def slow(c: Context) -> Tensor:
    """Mean absolute motion to the neighbouring frames."""
    return _total((flow.abs().mean() for flow in c.flow.values()), c)


def temporal(c: Context) -> Tensor:
    """Mean absolute acceleration: motion ahead plus motion back."""
    if len(c.flow) < 2:
        return c.nothing
    return (c.flow[1] + c.flow[-1]).abs().mean()


def temporal_warped(c: Context) -> Tensor:
    """The same of the neighbouring frames' own motion at the samples moved there."""
    terms = []
    for warp in c.warped.values():
        if warp.paths.before is not None and warp.paths.after is not None:
            start = c.clip.inner(warp.positions)
            ends = (c.clip.inner(warp.paths.positions[:, k]) for k in (warp.paths.before, warp.paths.after))
            terms.append(sum(end - start for end in ends).abs().mean())
    return _total(terms, c)


def spatial(c: Context) -> Tensor:
    """Mean absolute difference of motion between neighbouring samples of a ray."""
    beside = (c.traced.active.diff() == 1) & (c.ray.diff() == 0)
    return _total((mean(flow.diff(dim=0).abs(), beside) for flow in c.flow.values()), c)


def cycle(c: Context) -> Tensor:
    """Mean absolute distance from where a sample ends that goes to a neighbouring frame and back."""
    chosen = c.some(len(c.points))
    start = c.clip.inner(c.points[chosen])
    terms = []
    for side, moved in c.moved.items():
        back = c.step(moved, c.frame(side), c.batch.frame, chosen)
        terms.append((c.clip.inner(back) - start).abs().mean())
    return _total(terms, c)


def static(c: Context) -> Tensor:
    """Mean squared motion of samples on rays at rest."""
    rest = ~c.batch.moving[c.ray]
    return _total((mean(flow.square(), rest) for flow in c.flow.values()), c)


def known_tracks(c: Context) -> Tensor:
    """Mean absolute distance, in half sizes of the scene, of known trajectories' points in the neighbouring frames
    from where the field carries them."""
    tracks, index, frames = c.batch.tracks, c.batch.index, c.found.frames
    chosen = torch.randint(len(tracks), (TRACKS,), generator=c.generator)
    terms = []
    for side in (-1, 1):
        if 0 <= index + side < tracks.shape[1]:
            start, end = tracks[chosen, index].to(c.points), tracks[chosen, index + side].to(c.points)
            moved = c.step(start, frames[index], frames[index + side])
            terms.append((moved - end).abs().mean() / c.clip.radius)
    return _total(terms, c)
