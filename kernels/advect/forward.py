"""Taichi kernels that carry particles through a velocity grid, all steps in one launch.

Particles are taken in the given order, in blocks that go through their steps side by side: what a processor waits for
of one it has of the next. Each of a number of workers does a row of blocks, with a place of its own to keep their
stages. Every ``lanes``-th iteration of the parallel loop is a worker and the others do nothing, since Taichi gives a
CPU thread at least 512 iterations. A particle that is no finite number, or becomes none, is NaN from there on.
"""

import torch

from ..bridge import ti
from ..once import once
from .sampling import sampler
from .tableaus import GROW, MOST_STAGES, ORDER, SAFETY, SHRINK

NAN = float("nan")

# What a worker keeps of each particle of a block, in vectors of four: place, step (length, fraction of the interval at
# which it begins and which it takes, how long the next may be), stages.
PLACE, STEP, STAGES = 0, 1, 2
ROOM = STAGES + MOST_STAGES
# And in integers: whether it is alive, whether its first stage is known, its interval, trials in it, accepted steps.
ALIVE, KNOWN, INTERVAL, TRIALS, ACCEPTED, ROOM_FOR_INTEGERS = range(6)


@once
def stepper(dtype: torch.dtype, boundary: str):
    """``stages(...)`` computes a step's stages up to ``last`` for the ``count`` particles of a block;
    ``combined(...)`` is where a row of the scheme leads."""
    s = sampler(dtype, boundary)

    @ti.func
    def combined(scheme: ti.template(), room: ti.template(), at, row):
        x, h = room[at + PLACE], room[at + STEP][0]
        for j in range(row):
            x += h * scheme[row, j] * room[at + STAGES + j]
        return x

    @ti.func
    def stages(
        grid: ti.template(), where, scheme: ti.template(), room: ti.template(), notes: ti.template(), worker, count, last
    ):
        for row in range(last + 1):
            for q in range(count):
                if notes[worker + q, ALIVE] != 0 and (row > 0 or notes[worker + q, KNOWN] == 0):
                    at = (worker + q) * ROOM
                    room[at + STAGES + row] = s.velocity(grid, where, combined(scheme, room, at, row))

    return stages, combined


@once
def march(dtype: torch.dtype, boundary: str):
    """Kernel of a scheme with ``steps`` equal steps in each of the intervals between ``times`` [T].

    Writes every ``keep``-th position into ``path`` [N, (T - 1) * steps / keep + 1].
    """
    s = sampler(dtype, boundary)
    stages, combined = stepper(dtype, boundary)
    real, vec3, vec4 = s.real, s.vec3, s.vec4

    @ti.kernel
    def kernel(
        order: ti.types.ndarray(dtype=ti.i32, ndim=1),
        points: ti.types.ndarray(dtype=vec3, ndim=1),
        times: ti.types.ndarray(dtype=real, ndim=1),
        grid: ti.types.ndarray(dtype=vec3, ndim=1),
        frame: ti.types.ndarray(dtype=real, ndim=2),
        sizes: ti.types.ndarray(dtype=ti.i32, ndim=1),
        scheme: ti.types.ndarray(dtype=real, ndim=2),
        room: ti.types.ndarray(dtype=vec4, ndim=1),
        notes: ti.types.ndarray(dtype=ti.i32, ndim=2),
        path: ti.types.ndarray(dtype=vec3, ndim=2),
        steps: ti.i32,
        keep: ti.i32,
        workers: ti.i32,
        block: ti.i32,
        lanes: ti.i32,
    ):
        for task in range(workers * lanes):
            if task % lanes == 0:
                worker = task // lanes * block
                where = s.box(frame, sizes)
                last_row = scheme.shape[0] - 2
                blocks = (order.shape[0] + block - 1) // block
                for b in range(blocks * (task // lanes) // workers, blocks * (task // lanes + 1) // workers):
                    first = b * block
                    count = ti.min(block, order.shape[0] - first)
                    for q in range(count):
                        i = order[first + q]
                        x = points[i]
                        path[i, 0] = x
                        notes[worker + q, ALIVE] = 1 if s.is_finite(x) else 0
                        notes[worker + q, KNOWN] = 0
                        room[(worker + q) * ROOM + PLACE] = vec4(x[0], x[1], x[2], times[0])
                    for n in range((times.shape[0] - 1) * steps):
                        span = times[n // steps + 1] - times[n // steps]
                        t = times[n // steps] + span * (n % steps) / steps
                        for q in range(count):
                            at = (worker + q) * ROOM
                            room[at + PLACE][3] = t
                            room[at + STEP][0] = span / steps
                        stages(grid, where, scheme, room, notes, worker, count, last_row - 1)
                        for q in range(count):
                            x = vec3(real(NAN))
                            if notes[worker + q, ALIVE] != 0:
                                at = (worker + q) * ROOM
                                y = combined(scheme, room, at, last_row)
                                room[at + PLACE] = y
                                if s.is_finite(y):
                                    x = vec3(y[0], y[1], y[2])
                                else:
                                    notes[worker + q, ALIVE] = 0
                            if (n + 1) % keep == 0:
                                path[order[first + q], (n + 1) // keep] = x

    return kernel


@once
def march_adaptively(dtype: torch.dtype, boundary: str):
    """Kernel of an adaptive scheme, with step sizes of its own for every particle.

    A step whose estimated error, relative to ``atol + rtol |x|`` and in the root mean square over the axes, exceeds 1
    is tried again smaller. Steps end at ``times`` [T] and are no longer than ``longest``. A particle that needs more
    than ``most`` trials for an interval is NaN from there on.

    Writes positions into ``path`` [N, T], and into ``counts`` [N] how many steps were accepted. Where ``record`` is
    set, also where each of them began and at which fraction of its interval: ``starts`` [N] is a particle's first row
    in ``states`` and ``fractions``.
    """
    s = sampler(dtype, boundary)
    stages, combined = stepper(dtype, boundary)
    real, vec3, vec4 = s.real, s.vec3, s.vec4
    smallest = 16 * torch.finfo(dtype).eps  # fraction of an interval

    @ti.func
    def plan(times: ti.template(), room: ti.template(), at, interval):
        """Set out the next step, by how long it may be."""
        span = times[interval + 1] - times[interval]
        begin, stride = room[at + STEP][1], room[at + STEP][3]
        part = 1 - begin
        if stride < part * ti.abs(span):
            part = ti.min(part, ti.max(stride / ti.abs(span), real(smallest)))
        if begin + part > 1 - real(smallest):
            part = 1 - begin
        room[at + PLACE][3] = times[interval] + begin * span
        room[at + STEP] = vec4(part * span, begin, part, stride)

    @ti.func
    def allowed_error(scheme: ti.template(), room: ti.template(), at, row, y, rtol, atol):
        """Mean square of the estimated error of a step to ``y``, relative to what is allowed."""
        x, h = room[at + PLACE], room[at + STEP][0]
        error = vec4(0)
        for j in range(row + 1):
            error += h * scheme[row + 1, j] * room[at + STAGES + j]
        square = real(0.0)
        for c in ti.static(range(3)):
            e = error[c] / (atol + rtol * ti.max(ti.abs(x[c]), ti.abs(y[c])))
            square += e * e / 3
        return square

    @ti.kernel
    def kernel(
        order: ti.types.ndarray(dtype=ti.i32, ndim=1),
        points: ti.types.ndarray(dtype=vec3, ndim=1),
        times: ti.types.ndarray(dtype=real, ndim=1),
        grid: ti.types.ndarray(dtype=vec3, ndim=1),
        frame: ti.types.ndarray(dtype=real, ndim=2),
        sizes: ti.types.ndarray(dtype=ti.i32, ndim=1),
        scheme: ti.types.ndarray(dtype=real, ndim=2),
        room: ti.types.ndarray(dtype=vec4, ndim=1),
        notes: ti.types.ndarray(dtype=ti.i32, ndim=2),
        path: ti.types.ndarray(dtype=vec3, ndim=2),
        counts: ti.types.ndarray(dtype=ti.i32, ndim=1),
        record: ti.i32,
        starts: ti.types.ndarray(dtype=ti.i32, ndim=1),
        states: ti.types.ndarray(dtype=vec3, ndim=1),
        fractions: ti.types.ndarray(dtype=real, ndim=1),
        rtol: real,
        atol: real,
        longest: real,
        most: ti.i32,
        workers: ti.i32,
        block: ti.i32,
        lanes: ti.i32,
    ):
        for task in range(workers * lanes):
            if task % lanes == 0:
                worker = task // lanes * block
                where = s.box(frame, sizes)
                last_row, intervals = scheme.shape[0] - 2, times.shape[0] - 1
                blocks = (order.shape[0] + block - 1) // block
                for b in range(blocks * (task // lanes) // workers, blocks * (task // lanes + 1) // workers):
                    first = b * block
                    count = ti.min(block, order.shape[0] - first)
                    alive = 0
                    for q in range(count):
                        i, at, note = order[first + q], (worker + q) * ROOM, worker + q
                        x = points[i]
                        path[i, 0] = x
                        for n in range(intervals):
                            path[i, n + 1] = vec3(real(NAN))
                        for c in ti.static(range(ROOM_FOR_INTEGERS)):
                            notes[note, c] = 0
                        room[at + PLACE] = vec4(x[0], x[1], x[2], times[0])
                        room[at + STEP] = vec4(0, 0, 0, longest)
                        counts[i] = 0
                        if s.is_finite(x) and intervals > 0:
                            notes[note, ALIVE] = 1
                            alive += 1
                            plan(times, room, at, 0)
                    while alive > 0:
                        stages(grid, where, scheme, room, notes, worker, count, last_row)
                        for q in range(count):
                            i, at, note = order[first + q], (worker + q) * ROOM, worker + q
                            if notes[note, ALIVE] != 0:
                                step = room[at + STEP]
                                y = combined(scheme, room, at, last_row)
                                square = allowed_error(scheme, room, at, last_row, y, rtol, atol)
                                notes[note, KNOWN] = 1
                                notes[note, TRIALS] = notes[note, TRIALS] + 1
                                if s.is_finite(y) and s.is_finite(vec3(square)) and notes[note, TRIALS] <= most:
                                    length = ti.abs(step[0])
                                    factor = real(GROW)
                                    if square > 0:
                                        factor = real(SAFETY) * ti.pow(square, real(-0.5 / ORDER))
                                        factor = ti.min(ti.max(factor, real(SHRINK)), real(GROW))
                                    if square <= 1 or step[2] <= real(smallest):
                                        if record != 0:
                                            x = room[at + PLACE]
                                            row = starts[i] + notes[note, ACCEPTED]
                                            states[row] = vec3(x[0], x[1], x[2])
                                            fractions[row] = step[1]
                                        notes[note, ACCEPTED] = notes[note, ACCEPTED] + 1
                                        counts[i] = notes[note, ACCEPTED]
                                        room[at + PLACE] = y
                                        room[at + STAGES] = room[at + STAGES + last_row]
                                        begin, stride = step[1] + step[2], length * factor
                                        if begin > 1 - real(smallest):
                                            # A step that an output cut short says little of how long the next may be.
                                            if factor >= 1:
                                                stride = ti.max(stride, step[3])
                                            begin = 0
                                            notes[note, INTERVAL] = notes[note, INTERVAL] + 1
                                            notes[note, TRIALS] = 0
                                            path[i, notes[note, INTERVAL]] = vec3(y[0], y[1], y[2])
                                        room[at + STEP][1] = begin
                                        room[at + STEP][3] = ti.min(stride, longest)
                                    else:
                                        room[at + STEP][3] = length * ti.min(factor, real(1.0))
                                    if notes[note, INTERVAL] == intervals:
                                        notes[note, ALIVE] = 0
                                    else:
                                        plan(times, room, at, notes[note, INTERVAL])
                                else:
                                    notes[note, ALIVE] = 0
                                alive -= 1 - notes[note, ALIVE]

    return kernel
