"""Advection through a velocity grid against torchdiffeq with torch's grid_sample.

Forward, and backward to start points and velocities. Times are the best of several rounds in a warm process on all
cores; the contenders take turns.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from semaflow.kernels import advect, bridge
from torch import Tensor
from torch.nn.functional import grid_sample

from .table import Table, cores, milliseconds

BOX = [[-1.0, -1, -1], [1.0, 1, 1]]


@dataclass
class Flow:
    """Particles in a box, and a velocity that changes over space and time."""

    points: Tensor  # [N, 3]
    times: Tensor  # [T]
    grid: Tensor  # [T', X, Y, Z, 3]
    v_paths: Tensor  # [N, T, 3], gradients of the result

    def to(self, device: str) -> Flow:
        return Flow(*(getattr(self, field.name).to(device) for field in fields(self)))


def random_flow(count: int, steps: int, size: int, slices: int, seed: int = 0) -> Flow:
    """Smooth random velocities: a few waves over the box and over the time from 0 to 1, in which particles travel a
    third of the box on average."""
    g = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, size)
    t = torch.linspace(0, 1, slices)
    grid = torch.zeros(slices, size, size, size, 3)
    for _ in range(4):
        waves = [torch.randint(1, 4, (1,), generator=g) * axis + 6 * torch.rand(1, generator=g) for _ in range(3)]
        wave = waves[0].sin()[:, None, None] * waves[1].sin()[:, None] * waves[2].sin()
        turning = (3 * torch.randn(1, generator=g) * t + 6 * torch.rand(1, generator=g)).cos()
        grid += turning[:, None, None, None, None] * wave[None, ..., None] * torch.randn(3, generator=g)
    grid *= 2 / 3 / grid.norm(dim=-1).mean()
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
    """Trajectories by torchdiffeq, velocities by grid_sample: looked up at the times before and after, and blended."""

    def __init__(self, flow: Flow, method: str):
        from torchdiffeq import odeint

        super().__init__(flow, method)
        self.odeint = odeint

    def volumes(self, grid: Tensor):
        """The grid as grid_sample takes it: channels first, and x along the last axis."""
        return grid.permute(0, 4, 3, 2, 1)

    def velocity(self, volumes, k: int, part: float, x: Tensor) -> Tensor:
        return torch.lerp(self.looked_up(volumes[k], x), self.looked_up(volumes[k + 1], x), part)

    def looked_up(self, volume: Tensor, x: Tensor) -> Tensor:
        found = grid_sample(volume[None], x[None, :, None, None], align_corners=True, padding_mode="border")
        return found[0, :, :, 0, 0].T

    def forward(self):
        points, grid = self.leaves
        volumes = self.volumes(grid)

        def velocity(t, x):
            at = float(t) * (len(volumes) - 1)
            k = min(int(at), len(volumes) - 2)
            return self.velocity(volumes, k, at - k, x)

        self.paths = self.odeint(velocity, points, self.flow.times, method=self.method).transpose(0, 1)


class TorchdiffeqBlended(Torchdiffeq):
    """The same for less: the two volumes around a time are blended before they are looked up, and the gradient of one
    time's volume is never a whole grid."""

    def volumes(self, grid: Tensor):
        return super().volumes(grid).contiguous().unbind(0)

    def velocity(self, volumes, k: int, part: float, x: Tensor) -> Tensor:
        return self.looked_up(torch.lerp(volumes[k], volumes[k + 1], part), x)


def contest(flow: Flow, title: str, method: str = "rk4", device: str = "cpu", seconds: float = 5.0) -> Table:
    """All contenders on one flow; each is timed for about ``seconds``."""
    flow = flow.to(device)
    table = Table(title, ["who", "forward ms", "backward ms", "both ms", "x slower", "paths", "gradients"])
    count, steps, (slices, size) = len(flow.points), len(flow.times) - 1, flow.grid.shape[:2]
    used = f"{bridge.threads()} threads on {cores()} cores, {device}"
    table.notes += [
        f"{count} particles, {steps} steps of {method}, grid {size}^3 x {slices}, {used}",
        "blended: the grids around a time are blended before particles are looked up, not afterwards",
        "paths, gradients: largest difference to semaflow's, of points in the box's size, of gradients of the grid "
        "relative to the largest",
    ]
    ours = Ours(flow, method)
    contenders = {"semaflow": ours}
    try:
        contenders |= {
            "torchdiffeq": Torchdiffeq(flow, method), "torchdiffeq, blended": TorchdiffeqBlended(flow, method)
        }  # fmt: skip
    except ImportError as reason:
        table.notes.append(f"no torchdiffeq: {reason}")
    times = milliseconds(*((c.forward, c.backward) for c in contenders.values()), seconds=seconds, device=device)
    total = sum(times[0])
    for (who, contender), (forward, backward) in zip(contenders.items(), times, strict=True):
        figures = {"forward ms": forward, "backward ms": backward, "both ms": forward + backward}
        if contender is not ours:
            figures["x slower"] = (forward + backward) / total
            figures["paths"] = float((contender.paths - ours.paths).detach().abs().max()) / 2
            a, b = contender.gradients[1], ours.gradients[1]
            figures["gradients"] = float((a - b).abs().max() / b.abs().max())
        table.add(who=who, **figures)
    return table


def tables(device: str = "cpu", count: int = 100_000, steps: int = 48, size: int = 64, slices: int = 24,
           seconds: float = 5.0) -> list[Table]:
    """One flow, large enough for caches to matter."""
    flow = random_flow(count, steps, size, slices)
    return [contest(flow, "advection, forward and backward to points and velocities", "rk4", device, seconds)]


def run() -> list[Table]:
    torch.set_num_threads(bridge.threads())
    return tables()
