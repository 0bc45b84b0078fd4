"""Trajectories of points over the frames around them, and the semantic code that is read along these."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...kernels.advect import trajectories
from ..motion.network import encode
from .blocks import Attention
from .clip import Clip

OCTAVES = 10  # of a displacement


@dataclass
class Paths:
    """Where P points are at the frames around their time.

    Attributes:
        positions: [P, J, 3] in the world. frames: [J], ascending.
        tokens: indices into these, of the flow points, the own frame's first; a missing one is the own again.
        own: index of the own frame. before, after: of the neighbouring frames; None at the clip's ends.
    """

    positions: Tensor
    frames: list[int]
    tokens: list[int]
    own: int
    before: int | None
    after: int | None


def follow(points: Tensor, time: float, clip: Clip, velocity, config) -> Paths:
    """The trajectories of ``points`` [P, 3] from ``time`` through ``velocity(t, x [P, 3]) -> [P, 3]`` (scene units per
    unit of time), forward and backward, at the flow points' frames and the neighbouring ones."""
    middle = clip.frame(time)
    reach = config.flow_points // 2
    offsets = [0, *(sign * k * config.flow_stride for k in range(1, reach + 1) for sign in (-1, 1))]
    wanted = {offset: clip.around(middle, offset) for offset in {*offsets, -1, 0, 1}}
    frames = sorted({frame for frame in wanted.values() if frame is not None})
    moments = clip.times[frames]
    now = torch.as_tensor(time, dtype=moments.dtype, device=moments.device)
    settings = {"method": config.method, "steps": config.steps}
    parts = []
    earlier, later = moments < now - 1e-6, moments > now + 1e-6
    if earlier.any():
        times = torch.cat([now[None], moments[earlier].flip(0)])
        parts.append(trajectories(points, times, velocity, **settings)[:, 1:].flip(1))
    if not (earlier | later).all():
        parts.append(points[:, None])
    if later.any():
        times = torch.cat([now[None], moments[later]])
        parts.append(trajectories(points, times, velocity, **settings)[:, 1:])
    place = {frame: k for k, frame in enumerate(frames)}
    own = place[middle]
    tokens = [own if wanted[offset] is None else place[wanted[offset]] for offset in offsets]
    before, after = (None if wanted[sign] is None else place[wanted[sign]] for sign in (-1, 1))
    return Paths(torch.cat(parts, 1), frames, tokens, own, before, after)


class FlowCode(nn.Module):
    """The code that semantics are read from: features along a trajectory with displacements, attended over.

    Token k holds the features where the point was at frame k, and waves of how far that is from where it is, in space
    and time (Semantic Flow, section 3: flow feature aggregation and flow attention).

    Args:
        features: channels of the image features; 0: none, displacements alone.
        width: of a token. points: K.
        displacement, absolute, attention: as in the config.
    """

    def __init__(self, features: int, width: int, points: int, displacement: bool, absolute: bool, attention: bool):
        super().__init__()
        self.features, self.displacement, self.absolute = features, displacement, absolute
        waves = 4 * (1 + 2 * OCTAVES) if displacement or absolute else 0
        self.token = nn.Linear(features + waves, width)
        self.attention = Attention(width) if attention else None
        self.size = width * (points if attention else 1)

    def forward(self, paths: Paths, points: Tensor, time: float, clip: Clip, shown: Tensor) -> Tensor:
        """Codes [P, size] of ``points`` [P, 3] at ``time`` on ``paths``, whose tokens show features [P, K, F]."""
        chosen = paths.tokens if self.attention is not None else paths.tokens[:1]
        parts = [shown[:, : len(chosen)]] if self.features else []
        if self.displacement or self.absolute:
            positions = clip.inner(paths.positions[:, chosen])
            moments = (clip.times[[paths.frames[k] for k in chosen]] - time) / clip.step / len(clip.times) * 2
            if self.absolute:
                moments = moments + 2 * time - 1
            else:
                positions = positions - clip.inner(points)[:, None]
            where = torch.cat([positions, moments.view(1, -1, 1).expand(len(points), -1, 1)], -1)
            waves = encode(where, OCTAVES)
            parts.append(nn.functional.normalize(waves, dim=-1))
        tokens = self.token(torch.cat(parts, -1))
        return (tokens if self.attention is None else self.attention(tokens)).flatten(1)
