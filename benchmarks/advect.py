"""Advection through a velocity grid against torchdiffeq with torch's grid_sample, on the CPU.

Forward, and backward to start points and velocities. The peer blends the two grids around a time before it looks
particles up, which is less work than two lookups. Times are the best of several rounds in a warm process on all cores;
the contenders take turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from semaflow.kernels import advect
from torch import Tensor
from torch.nn.functional import grid_sample

from .table import Table, cores, milliseconds

BOX = [[-1.0, -1, -1], [1.0, 1, 1]]


@dataclass
class Flow:
    """Particles in the box, and a velocity that turns over space and time: they cross about one cell in a step."""

    points: Tensor  # [N, 3]
    times: Tensor  # [T]
    grid: Tensor  # [T', X, Y, Z, 3]
    v_paths: Tensor  # [N, T, 3], gradients of the result


def random_flow(count: int, steps: int, size: int, slices: int, seed: int = 0) -> Flow:
    """Smooth random velocities: a few waves over the box and over the time from 0 to 1."""
    g = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, size)
    t = torch.linspace(0, 1, slices)
    grid = torch.zeros(slices, size, size, size, 3)
    for _ in range(4):
        waves = [torch.randint(1, 4, (1,), generator=g) * axis + 6 * torch.rand(1, generator=g) for _ in range(3)]
        wave = waves[0].sin()[:, None, None] * waves[1].sin()[:, None] * waves[2].sin()
        turning = (3 * torch.randn(1, generator=g) * t + 6 * torch.rand(1, generator=g)).cos()
        grid += turning[:, None, None, None, None] * wave[None, ..., None] * torch.randn(3, generator=g)
    grid *= steps * (2 / size) / grid.norm(dim=-1).mean()
    return Flow(
        points=1.8 * torch.rand(count, 3, generator=g) - 0.9,
        times=torch.linspace(0, 1, steps + 1),
        grid=grid,
        v_paths=torch.randn(count, steps + 1, 3, generator=g) / count,
    )


class Ours:
    """Trajectories by semaflow."""

    def __init__(self, flow: Flow, method: str):
        self.flow, self.method = flow, method
        self.leaves = [x.clone().requires_grad_(True) for x in (flow.points, flow.grid)]

    def forward(self):
        points, grid = self.leaves
        self.paths = advect.trajectories(points, self.flow.times, grid, self.method, box=BOX)

    def backward(self):
        self.gradients = torch.autograd.grad(self.paths, self.leaves, self.flow.v_paths)


class Torchdiffeq(Ours):
    """Trajectories by torchdiffeq, velocities by grid_sample."""

    def __init__(self, flow: Flow, method: str):
        from torchdiffeq import odeint

        super().__init__(flow, method)
        self.odeint = odeint

    def forward(self):
        points, grid = self.leaves
        # grid_sample takes channels first, and x along the last axis.
        volumes = grid.permute(0, 4, 3, 2, 1).contiguous().unbind(0)

        def velocity(t, x):
            at = float(t) * (len(volumes) - 1)
            k = min(int(at), len(volumes) - 2)
            volume = torch.lerp(volumes[k], volumes[k + 1], at - k)
            found = grid_sample(volume[None], x[None, :, None, None], align_corners=True, padding_mode="border")
            return found[0, :, :, 0, 0].T

        self.paths = self.odeint(velocity, points, self.flow.times, method=self.method).transpose(0, 1)


def contest(flow: Flow, title: str, method: str = "rk4", seconds: float = 5.0) -> Table:
    """All contenders on one flow; each is timed for about ``seconds``."""
    table = Table(title, ["who", "forward ms", "backward ms", "both ms", "x torchdiffeq", "paths", "gradients"])
    count, steps, (slices, size) = len(flow.points), len(flow.times) - 1, flow.grid.shape[:2]
    table.notes += [
        f"{count} particles, {steps} steps of {method}, grid {size}^3 x {slices}, {cores()} cores",
        "paths, gradients: largest difference to torchdiffeq's, of points in the box's size, of gradients relative to "
        "the largest",
    ]
    contenders = {"semaflow": Ours(flow, method)}
    try:
        contenders["torchdiffeq"] = Torchdiffeq(flow, method)
    except ImportError as reason:
        table.notes.append(f"no torchdiffeq: {reason}")
    times = milliseconds(*((c.forward, c.backward) for c in contenders.values()), seconds=seconds)
    totals = {who: sum(steps) for who, steps in zip(contenders, times, strict=True)}
    for (who, contender), (forward, backward) in zip(contenders.items(), times, strict=True):
        figures = {}
        if peer := contenders.get("torchdiffeq"):
            figures["x torchdiffeq"] = totals["torchdiffeq"] / totals[who]
            if contender is not peer:
                figures["paths"] = float((contender.paths - peer.paths).detach().abs().max()) / 2
                pairs = zip(contender.gradients, peer.gradients, strict=True)
                figures["gradients"] = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
        table.add(who=who, **{"forward ms": forward, "backward ms": backward, "both ms": totals[who]}, **figures)
    return table
