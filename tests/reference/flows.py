"""Flows for tests of advection."""

from __future__ import annotations

import torch

BOX = [[-1.0, -1.0, -1.0], [1.0, 1.2, 1.0]]


def random_case(count=24, dtype=torch.float64, seed=0):
    """Points in and around the box, uneven times beyond the grid's, and rough velocities."""
    g = torch.Generator().manual_seed(seed)
    points = 2.4 * torch.rand(count, 3, generator=g, dtype=dtype) - 1.2
    times = torch.tensor([0.1, 0.3, 0.35, 0.9, 1.1], dtype=dtype)
    grid = torch.randn(4, 5, 6, 4, 3, generator=g, dtype=dtype)
    return [x.requires_grad_(True) for x in (points, times, grid)]


def gradients(paths, inputs, seed=1):
    weights = torch.randn(paths.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.autograd.grad((paths * weights.to(paths)).sum(), inputs)


def turning(t, x):
    """Rotation about z, faster and faster: after time t by the angle t + t^2."""
    return (1 + 2 * t) * torch.stack([-x[..., 1], x[..., 0], 0 * x[..., 0]], -1)


def small_network():
    torch.manual_seed(0)
    layers = [torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3)]

    class Velocity(torch.nn.Sequential):
        calls = 0

        def forward(self, t, x):
            self.calls += 1
            self.seen = x
            return super().forward(torch.cat([x, t.expand(len(x), 1)], 1))

    return Velocity(*layers).double()
