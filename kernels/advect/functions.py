"""Advection through a velocity grid as a differentiable function of torch."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .. import bridge
from . import forward as ahead
from . import reverse as back
from .frame import Frame
from .settings import Settings
from .tableaus import METHODS, coefficients

BLOCK = 16  # particles that go side by side on the CPU; what they keep fits its nearest cache
WORKERS = 8  # for each CPU thread, so that they end at about the same time
LANES = 512  # iterations that Taichi gives a CPU thread at least

# Sums of gradients are integers of so many bits beside the sign. HEADROOM of them wait for gradients that grow on their
# way back; where they grow more, or shrink by more than SLACK, the sums are taken again.
BITS, HEADROOM, SLACK = 62, 8, 24

MOST_ROWS = 2**31 // 3  # positions in one buffer, whose numbers Taichi counts in 32 bits


class Advect(torch.autograd.Function):
    """Positions [N, T, 3] of particles at ``times``, through ``grid`` [T', X, Y, Z, 3]; all contiguous."""

    @staticmethod
    def forward(ctx, points: Tensor, times: Tensor, grid: Tensor, order: Tensor, frame: Frame, settings: Settings):
        ctx.adaptive = bool(METHODS[settings.method].error)
        ctx.frame, ctx.settings = frame, settings
        arguments = _arguments(points, times, grid, order, frame, settings)
        if ctx.adaptive:
            states, counts = None, torch.empty_like(order)
            path = _adaptively(arguments, counts, frame, settings)
        else:
            keep = 1 if any(ctx.needs_input_grad[:3]) else settings.steps
            each = settings.steps // keep
            states = bridge.empty(points, len(points), _fitting(len(points), (len(times) - 1) * each + 1), 3)
            counts, kernel = None, ahead.march(points.dtype, frame.boundary)
            *rooms, tasks = _workers(points, ahead.ROOM, ahead.ROOM_FOR_INTEGERS)
            bridge.call(kernel, *arguments, *rooms, states, settings.steps, keep, *tasks)
            path = states[:, ::each].contiguous()
        ctx.save_for_backward(points, times, grid, order, path, states, counts)
        return path

    @staticmethod
    @once_differentiable
    def backward(ctx, v_path: Tensor):
        points, times, grid, order, path, states, counts = ctx.saved_tensors
        frame, settings = ctx.frame, ctx.settings
        arguments = _arguments(points, times, grid, order, frame, settings)
        if ctx.adaptive:
            rows = max(_fitting(1, int(counts.sum())), 1)
            starts = (counts.cumsum(0) - counts).int()
            states, fractions = points.new_empty(rows, 3), points.new_empty(rows)
            _adaptively(arguments, torch.empty_like(counts), frame, settings, (starts, states, fractions))
        else:
            rows = states.shape[1]
            starts = torch.arange(len(points), dtype=torch.int32, device=points.device) * rows
            counts, fractions = torch.full_like(starts, rows - 1), points.new_empty(1)
        _, wants_times, wants_grid = ctx.needs_input_grad[:3]
        path, states, v_path = path.detach(), states.detach().view(-1, 3), v_path.contiguous()
        v_points, totals = torch.empty_like(points), torch.empty_like(points[:, 0])
        v_times = points.new_empty((len(points), len(times)) if wants_times else (1, 1))
        *rooms, tasks = _workers(points, back.ROOM, back.ROOM_FOR_INTEGERS)
        kernel = back.reverse(points.dtype, frame.boundary)

        def run(nodes: Tensor, scale: float) -> float:
            """Take gradients back; the bound of what was added to any node."""
            bridge.call(
                kernel, order, *arguments[2:], *rooms, path, v_path, starts, counts, states, fractions,
                0 if ctx.adaptive else settings.steps, v_points, v_times.zero_(), nodes, totals, int(wants_times), int(wants_grid), scale, *tasks,
            )  # fmt: skip
            return float(totals[totals.isfinite()].sum(dtype=torch.float64))

        if wants_grid:
            v_grid = _summed(run, grid, _foreseen(v_path, times))
        else:
            run(torch.empty(1, dtype=torch.int64, device=points.device), 0.0)
            v_grid = None
        return v_points, v_times.sum(0) if wants_times else None, v_grid, None, None, None


def _fitting(particles: int, rows: int) -> int:
    """``rows`` positions for each of the particles, if they can be counted."""
    if particles * rows > MOST_ROWS:
        raise ValueError(f"points, times: {particles * rows} positions at a time, expected {MOST_ROWS} at most")
    return rows


def _arguments(points, times, grid, order, frame: Frame, settings: Settings) -> list:
    """What all kernels begin with. Detached, since Taichi would look for the gradients of others."""
    scheme = coefficients(settings.method, points.dtype, points.device)
    points, times, nodes = points.detach(), times.detach(), grid.detach().view(-1, 3)
    return [order, points, times, nodes, *frame.arguments(points), scheme]


def _workers(points: Tensor, room: int, integers: int) -> tuple[Tensor, Tensor, tuple[int, int, int]]:
    """Memory for workers; and how many there are, how many particles each has at a time, and how many iterations of a
    parallel loop there are for each."""
    if points.is_cuda:
        workers, block, lanes = len(points), 1, 1
    else:
        workers, block, lanes = min(WORKERS * bridge.threads(), -(-len(points) // BLOCK)), BLOCK, LANES
    notes = torch.empty(max(workers, 1) * block, integers, dtype=torch.int32, device=points.device)
    return points.new_empty(len(notes) * room, 4), notes, (workers, block, lanes)


def _adaptively(arguments: list, counts: Tensor, frame: Frame, settings: Settings, record: tuple = ()) -> Tensor:
    """Positions by the adaptive kernel; ``record``: where to write starts, states and fractions of the steps."""
    points, times = arguments[1:3]
    path = bridge.empty(points, len(points), _fitting(len(points), len(times)), 3)
    longest = min(frame.time_cell, torch.finfo(points.dtype).max)
    *rooms, tasks = _workers(points, ahead.ROOM, ahead.ROOM_FOR_INTEGERS)
    bridge.call(
        ahead.march_adaptively(points.dtype, frame.boundary), *arguments, *rooms, path, counts, int(bool(record)),
        *(record or (counts, points.new_empty(1, 3), points.new_empty(1))), settings.rtol, settings.atol, longest,
        settings.trials, *tasks,
    )  # fmt: skip
    return path


def _foreseen(v_path: Tensor, times: Tensor) -> float:
    """Bound of the sum of all gradients that particles give to nodes, if these neither grow nor shrink on their way."""
    since = (times - times[0]).abs().double()
    largest = v_path.abs().amax(2).nan_to_num(0.0, 0.0)
    return float(largest.sum(0, dtype=torch.float64) @ since)


def _summed(run: Callable[[Tensor, float], float], grid: Tensor, foreseen: float) -> Tensor:
    """Gradient of the grid, by as many runs as it takes to know how large its sums become."""
    nodes = bridge.empty(torch.empty(0, dtype=torch.int64, device=grid.device), grid.numel())
    bound = foreseen * 2.0**HEADROOM
    while True:
        # A power of two, so that the last bits of the bound do not matter.
        scale = 2.0 ** (BITS - math.ceil(math.log2(bound))) if bound > 0 else 1.0
        found = run(nodes.zero_(), scale)
        if found <= bound and (found == 0 or found * 2.0**SLACK >= bound):
            break
        bound = found
    v_grid = bridge.empty(grid, *grid.shape)
    bridge.call(back.to_numbers(grid.dtype), nodes, v_grid.view(-1), 1 / scale)
    return v_grid
