"""Volume rendering in plain torch, ray after ray and sample after sample; any dtype, gradients by autograd.

The oracle of ``kernels.composite``. Samples are packed: ``counts`` holds the number of samples of each ray.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Samples:
    """Random samples of rays of unequal length, in float64."""

    counts: list[int]
    alphas: Tensor  # [N]
    t_starts: Tensor
    t_ends: Tensor
    sigmas: Tensor

    @property
    def packed_info(self) -> Tensor:
        counts = torch.tensor(self.counts)
        return torch.stack([counts.cumsum(0) - counts, counts], 1)

    @property
    def ray_indices(self) -> Tensor:
        return torch.arange(len(self.counts)).repeat_interleave(torch.tensor(self.counts))


def random_samples(seed: int, counts: list[int] | None = None) -> Samples:
    """Rays without samples, with one and with many; opacities of exactly 0 and 1 among them."""
    g = torch.Generator().manual_seed(seed)
    if counts is None:
        counts = [0, 1, 7, 0, 0, 150, 1, 64, *torch.randint(0, 20, (20,), generator=g).tolist(), 65, 0]
    n = sum(counts)

    def uniform():
        return torch.rand(n, generator=g, dtype=torch.float64)

    alphas = uniform() ** 2
    alphas[torch.rand(n, generator=g) < 0.02] = 1.0
    alphas[torch.rand(n, generator=g) < 0.1] = 0.0
    starts = uniform()
    return Samples(counts, alphas, starts, starts + uniform(), uniform() ** 4 * 20)


def exclusive_products(x: Tensor) -> Tensor:
    """``y_i = x_0 ... x_{i-1}`` of a vector."""
    return torch.cat([torch.ones_like(x[:1]), x.cumprod(0)[:-1]])


def transmittances(alphas: Tensor, counts: list[int]) -> Tensor:
    return torch.cat([exclusive_products(1 - ray) for ray in alphas.split(counts)])


def accumulate(weights: Tensor, values: Tensor, counts: list[int]) -> Tensor:
    """Weighted sums [R, D] of values [N, D]."""
    parts = zip(weights.split(counts), values.split(counts), strict=True)
    return torch.stack([(w[:, None] * v).sum(0) for w, v in parts])


@dataclass
class Blended:
    """One rendering: per ray, values [R, D], opacities and depths [R]; the weights of the samples [N]."""

    values: Tensor
    opacities: Tensor
    depths: Tensor


def static_dynamic(dynamic, static, blend, shown_dynamic, shown_static, depths, counts, stop=0.0, least=0.0):
    """``(full, dynamic, static, dynamicness [R], weights)`` from opacities, sample by sample.

    A sample with less than ``stop`` of transmittance in front, or that is less opaque than ``least``, is left out.
    ``weights``: of the dynamic and the static field in the joint rendering, and of each alone, [N].
    """
    weights = [[], [], [], []]
    at = 0
    for count in counts:
        T = [torch.ones_like(blend[:1]).squeeze() for _ in range(3)]
        for i in range(at, at + count):
            p, q = dynamic[i] * blend[i], static[i] * (1 - blend[i])
            kinds = (
                (1 - (1 - p) * (1 - q), {0: p, 1: q}),
                (dynamic[i], {2: dynamic[i]}),
                (static[i], {3: static[i]}),
            )
            for k, (cover, parts) in enumerate(kinds):
                seen = bool(T[k] >= stop and cover >= least)
                for column, part in parts.items():
                    weights[column].append(T[k] * part if seen else torch.zeros_like(part))
                if seen:
                    for part in parts.values():
                        T[k] = T[k] * (1 - part)
        at += count
    weights = [torch.stack(w) for w in weights]

    def layer(*parts):
        total = sum(w for w, _ in parts)
        return Blended(
            sum(accumulate(w, shown, counts) for w, shown in parts),
            accumulate(total, torch.ones_like(depths)[:, None], counts)[:, 0],
            accumulate(total, depths[:, None], counts)[:, 0],
        )

    joint = layer((weights[0], shown_dynamic), (weights[1], shown_static))
    alone = layer((weights[2], shown_dynamic)), layer((weights[3], shown_static))
    dynamicness = accumulate(weights[0] + weights[1], blend[:, None], counts)[:, 0]
    return joint, *alone, dynamicness, weights
