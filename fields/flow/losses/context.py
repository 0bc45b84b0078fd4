"""What a loss looks at: a batch of pixels, and what the field showed there."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from ....kernels.advect import trajectories
from ..clip import Clip
from ..dynamic import Radiance
from ..paths import Paths
from ..render import Traced
from ..targets import Batch, Targets
from .surfaced import Surfaced, moving_surface, still_surface

CHECKED = 1024  # samples that a loss with more integration looks at, at most


@dataclass
class Warped:
    """The dynamic field at the samples moved to a neighbouring frame, composited at their own depths."""

    radiance: Radiance
    weights: Tensor  # [R, M]
    paths: Paths
    positions: Tensor  # [A, 3]
    time: float
    code: Tensor


@dataclass
class Context:
    """One step's view of one clip.

    Sides are -1 (back) and 1 (ahead). Samples are the A that were followed.
    """

    field: object
    clip: Clip
    batch: Batch
    traced: Traced
    generator: torch.Generator
    found: Targets  # that the batch is of
    still: bool = False  # whether the static branch trains alone

    @property
    def config(self):
        return self.field.config

    @property
    def nothing(self) -> Tensor:
        """A loss of zero."""
        return self.batch.color.new_zeros(())

    @functools.cached_property
    def points(self) -> Tensor:
        """Samples followed, [A, 3]."""
        return self.traced.points.view(-1, 3)[self.traced.active]

    @functools.cached_property
    def ray(self) -> Tensor:
        """Which ray each is on, [A]."""
        return self.traced.active.div(self.traced.depths.shape[1], rounding_mode="floor")

    @functools.cached_property
    def moved(self) -> dict[int, Tensor]:
        """Where the samples are one frame back and ahead, [A, 3] by side; sides beyond the clip are not there."""
        paths = self.traced.paths
        sides = {-1: paths.before, 1: paths.after}
        return {side: paths.positions[:, k] for side, k in sides.items() if k is not None}

    @functools.cached_property
    def flow(self) -> dict[int, Tensor]:
        """How far that is in the clip's own coordinates, [A, 3] by side."""
        start = self.clip.inner(self.points)
        return {side: self.clip.inner(position) - start for side, position in self.moved.items()}

    def frame(self, side: int) -> int:
        """The neighbouring frame."""
        return self.batch.frame + side

    def step(self, positions: Tensor, begin: int, end: int, chosen: Tensor | None = None) -> Tensor:
        """Positions [A, 3] (those ``chosen``) carried by the field from frame ``begin`` to ``end``."""
        field, clip, config = self.field, self.clip, self.config
        start = positions if chosen is None else positions[chosen]
        path = trajectories(
            start, clip.times[[begin, end]], lambda t, x: field.velocity(clip, x, t), config.method, config.steps
        )
        return path[:, 1]

    def some(self, count: int) -> Tensor:
        """Indices of at most ``CHECKED`` of so many, drawn anew each time."""
        if count <= CHECKED:
            return torch.arange(count)
        return torch.randint(count, (CHECKED,), generator=self.generator)

    @functools.cached_property
    def warped(self) -> dict[int, Warped]:
        """The warped renderings by side."""
        return {side: self._warp(side, position) for side, position in self.moved.items()}

    def _warp(self, side: int, positions: Tensor) -> Warped:
        from ....kernels.composite import render_weight_from_alpha

        field, clip, shape = self.field, self.clip, self.traced.depths.shape
        time = float(clip.times[self.frame(side)])
        code = field.code(clip, positions, time)
        paths, shown = field.flow(clip, positions, time)
        h, radiance = field.dynamic.radiate(code, shown if self.config.dynamic_features else None)
        logits = field.dynamic.classify(field.flow_code(paths, positions, time, clip, shown), h)
        density = self.traced.spread(radiance.density[:, None])[..., 0]
        alpha = 1 - torch.exp(-density * self.traced.lengths)
        weights, _ = render_weight_from_alpha(alpha.view(shape))
        return Warped(radiance._replace(logits=logits), weights, paths, positions, time, code)

    @functools.cached_property
    def surface(self) -> Surfaced | None:
        """What the branch in training says of pixels whose depth is known; None where no depth is."""
        return still_surface(self) if self.still else moving_surface(self)

    def over_rays(self, weights: Tensor, values: Tensor) -> Tensor:
        """Sums [R, D] of values [A, D] by ``weights`` [R, M] of the samples."""
        own = weights.flatten()[self.traced.active]
        total = values.new_zeros(len(weights), values.shape[-1])
        return total.index_add(0, self.ray, own[:, None] * values)


def mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean of values [R, ...] over the rays ``where`` [R]; 0 where there are none."""
    where = where.to(values).view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    return (values * where).sum() / where.sum().clamp_min(1.0)
