"""Advection in plain torch: any dtype, gradients by autograd. The oracle of ``kernels.advect``.

Looks the grid up node by node and steps all particles together, each with its own step sizes where the method adapts
them. Follows Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", sections II.1 and II.4.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor


def velocity(grid: Tensor, t: Tensor, x: Tensor, box, span=(0.0, 1.0), boundary="clamp") -> Tensor:
    """Velocity [N, 3] at times [N] and places [N, 3]."""
    sizes = grid.shape[1:4] + grid.shape[:1]
    lower, upper = [*box[0], span[0]], [*box[1], span[1]]
    below, above, fractions = [], [], []
    for c, u in enumerate([*x.unbind(1), t]):
        rule, size = "clamp" if c == 3 else boundary, sizes[c]
        gaps = size if rule == "periodic" else size - 1
        at = (u - lower[c]) / (upper[c] - lower[c]) * gaps if size > 1 else torch.zeros_like(u)
        if rule == "clamp":
            at = at.clamp(0, size - 1)
        base = at.detach().floor().long()
        if rule == "clamp":
            base = base.clamp(0, max(size - 2, 0))
        below.append(base)
        above.append(base + 1)
        fractions.append(at - base)
    total = torch.zeros_like(x)
    for corner in itertools.product((0, 1), repeat=4):
        weight, index, there = torch.ones_like(t), [], torch.ones_like(t)
        for c in range(4):
            node = above[c] if corner[c] else below[c]
            weight = weight * (fractions[c] if corner[c] else 1 - fractions[c])
            if boundary == "periodic" and c < 3:
                node = node % sizes[c]
            there = there * ((node >= 0) & (node < sizes[c]))
            index.append(node.clamp(0, sizes[c] - 1))
        total = total + (weight * there)[:, None] * grid[index[3], index[0], index[1], index[2]]
    return total


SCHEMES = {
    "euler": ([0], [[]], [1]),
    "midpoint": ([0, 1 / 2], [[], [1 / 2]], [0, 1]),
    "rk4": ([0, 1 / 3, 2 / 3, 1], [[], [1 / 3], [-1 / 3, 1], [1, -1, 1]], [1 / 8, 3 / 8, 3 / 8, 1 / 8]),
    "dopri5": (
        [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1],
        [
            [],
            [1 / 5],
            [3 / 40, 9 / 40],
            [44 / 45, -56 / 15, 32 / 9],
            [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
            [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
            [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
        ],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0],
    ),
}
FOURTH_ORDER = [5179 / 57600, 0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40]


def step(v, method: str, t: Tensor, h: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """One step of every particle, from its own time [N] and of its own length [N]; and the stages."""
    nodes, rows, weights = SCHEMES[method]
    stages: list[Tensor] = []
    for c, row in zip(nodes, rows, strict=True):
        y = x + sum((h[:, None] * a * k for a, k in zip(row, stages, strict=True)), torch.zeros_like(x))
        stages.append(v(t + c * h, y))
    return x + sum(h[:, None] * b * k for b, k in zip(weights, stages, strict=True)), stages


def trajectories(
    points, times, grid, method="rk4", steps=1, box=None, span=(0.0, 1.0), boundary="clamp", rtol=1e-5, atol=1e-6
) -> Tensor:
    """Positions [N, T, 3]."""

    def v(t, x):
        return velocity(grid, t, x, box, span, boundary)

    x, path = points, [points]
    ones = torch.ones_like(points[:, 0])
    cell = (span[1] - span[0]) / (len(grid) - 1) if len(grid) > 1 else float("inf")
    stride = ones.detach() * cell
    for begin, end in itertools.pairwise(times):
        if method == "dopri5":
            x, stride = adaptive_interval(v, x, begin * ones, end * ones, stride, cell, rtol, atol)
        else:
            for n in range(steps):
                h = (end - begin) / steps
                x, _ = step(v, method, (begin + n * h) * ones, h * ones, x)
        path.append(x)
    return torch.stack(path, 1)


def adaptive_interval(v, x, begin, end, stride, cell, rtol, atol) -> tuple[Tensor, Tensor]:
    """Every particle from ``begin`` to ``end`` by steps of its own, which are constant fractions of the interval."""
    at = torch.zeros_like(stride)
    span = end - begin
    length = span.detach().abs()
    while (at < 1).any():
        part = torch.where(stride < (1 - at) * length, stride / length, 1 - at)
        whole = at + part > 1 - 1e-14
        part = torch.where(whole, 1 - at, part)
        h = part * span
        y, k = step(v, "dopri5", begin + at * span, h, x)
        with torch.no_grad():
            weights = [b - w for b, w in zip(SCHEMES["dopri5"][2], FOURTH_ORDER, strict=True)]
            error = sum(h[:, None] * w * s for w, s in zip(weights, k, strict=True))
            ratio = (error / (atol + rtol * torch.maximum(x.abs(), y.abs()))).square().mean(1).sqrt()
            factor = (0.9 * ratio ** (-1 / 5)).clamp(0.2, 10.0)
            going = at < 1
            accepted = going & (ratio <= 1)
            best = length * part * factor
            best = torch.where(whole & (factor >= 1), torch.maximum(best, stride), best)
            smaller = length * part * factor.clamp(max=1.0)
            stride = torch.where(accepted, best.clamp(max=cell), torch.where(going, smaller, stride))
            after = torch.where(whole, torch.ones_like(at), at + part)
            at = torch.where(accepted, after, at)
        x = torch.where(accepted[:, None], y, x)
    return x, stride
