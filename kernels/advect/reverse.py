"""Taichi kernel that takes gradients back along the paths of particles: the adjoint of the steps that were taken.

With ``l`` the gradient at the end of a step, from the last stage to the first::

    s_i = b_i l + sum_{j>i} a_ji u_j,    u_i = h J_i^T s_i,    l at the start = l + sum_i u_i

where ``J_i`` is the derivative of the velocity at stage i; ``h s_i`` is the gradient of the velocity that was looked up
there, and ``sum_i k_i s_i`` that of the step's length (Hager 2000; Sandu 2006, discrete adjoints of Runge-Kutta
schemes). As time is the fourth coordinate, so is the gradient of the time at which a step began. The stages are
computed anew from there. Blocks and workers are as in the forward kernels.

Gradients of the grid's nodes are sums over many particles. A particle adds up what it gives to the 16 nodes around it
until it leaves them, then adds that to the grid's sums, which are integers: they come to the same in whatever order
threads add to them.
"""

import torch

from ..bridge import ti
from ..once import once
from .sampling import REAL, sampler
from .tableaus import MOST_STAGES

# What a worker keeps of each particle of a block, in vectors of four: place, step (length, fractions of the interval at
# which it begins and ends, bound of what it gave to nodes), gradient; stages, where they are, the derivatives of each
# component of their velocity, their gradients; sums of nodes.
PLACE, STEP, GRADIENT, STAGES = 0, 1, 2, 3
PLACES = STAGES + MOST_STAGES
TURNS = PLACES + MOST_STAGES
PULLS = TURNS + 3 * MOST_STAGES
SUMS = PULLS + MOST_STAGES
ROOM = SUMS + 16
# And in integers: whether a step is taken back now, the steps left, the interval, and the base of the sums.
ACTIVE, LEFT, INTERVAL, BASE = 0, 1, 2, 3
ROOM_FOR_INTEGERS = BASE + 4


@once
def deposits(dtype: torch.dtype, boundary: str):
    """``deposit`` adds a gradient to the sums of the nodes around a place; where they are around another, ``flush``
    first adds these to the grid's: integers, ``scale`` times the numbers."""
    s = sampler(dtype, boundary)
    real, vec4, ivec4 = s.real, s.vec4, s.ivec4

    @ti.func
    def flush(where, nodes: ti.template(), room: ti.template(), notes: ti.template(), at, note, scale, mask, side):
        """Empty the sums of corners with ``corner & mask == side``. A particle's that overflows go nowhere."""
        fits = s.is_finite(s.vec3(room[at + STEP][3]))
        base = ivec4(0)
        for c in ti.static(range(4)):
            base[c] = notes[note, BASE + c]
        below, above = s.around(where, base)
        for corner in range(16):
            if corner & mask == side:
                index = s.node(below, above, corner)
                v = room[at + SUMS + corner]
                if fits and index >= 0 and (v[0] != 0 or v[1] != 0 or v[2] != 0):
                    for c in ti.static(range(3)):
                        nodes[3 * index + c] += ti.cast(ti.cast(v[c], ti.f64) * scale, ti.i64)
                room[at + SUMS + corner] = vec4(0)

    @ti.func
    def deposit(where, nodes: ti.template(), room: ti.template(), notes: ti.template(), at, note, scale, x, v):
        base, f, _ = s.locate(where, x)
        moves, mask, side = 0, 0, 0
        for c in ti.static(range(4)):
            by = base[c] - notes[note, BASE + c]
            if by != 0:
                moves += ti.abs(by)
                mask = 1 << c
                side = 0 if by > 0 else mask
        if moves > 0:
            if moves > 1:
                mask, side = 0, 0
            flush(where, nodes, room, notes, at, note, scale, mask, side)
            if moves == 1:
                # The next cell along one axis: half of its nodes were the other half of the last one's.
                for corner in range(16):
                    if corner & mask == side:
                        room[at + SUMS + corner] = room[at + SUMS + (corner ^ mask)]
                        room[at + SUMS + (corner ^ mask)] = vec4(0)
            for c in ti.static(range(4)):
                notes[note, BASE + c] = base[c]
        late = f[3] * v
        early = v - late
        for corner in range(8):
            weight = real(1.0)
            for c in ti.static(range(3)):
                weight *= f[c] if (corner >> c) & 1 != 0 else 1 - f[c]
            room[at + SUMS + corner] = room[at + SUMS + corner] + weight * early
            room[at + SUMS + 8 + corner] = room[at + SUMS + 8 + corner] + weight * late

    return flush, deposit


@once
def reverse(dtype: torch.dtype, boundary: str):
    """Kernel: gradients ``v_points`` [N], ``v_times`` [N, T] (if ``wants_times``; added to) and ``v_nodes``
    [3 * nodes] (int64, if ``wants_nodes``; added to) from those of positions ``v_path`` [N, T].

    ``states`` holds where each step began, a particle's from row ``starts[i]`` on, ``counts[i]`` of them. Where
    ``steps`` is zero they begin at ``fractions`` of their intervals, otherwise there are so many in each. ``totals`` [N] become bounds of what
    a particle adds to any node's gradient.
    """
    s = sampler(dtype, boundary)
    flush, deposit = deposits(dtype, boundary)
    real, vec3, vec4 = s.real, s.vec3, s.vec4

    @ti.kernel
    def kernel(
        order: ti.types.ndarray(dtype=ti.i32, ndim=1),
        times: ti.types.ndarray(dtype=real, ndim=1),
        grid: ti.types.ndarray(dtype=vec3, ndim=1),
        frame: ti.types.ndarray(dtype=real, ndim=2),
        sizes: ti.types.ndarray(dtype=ti.i32, ndim=1),
        scheme: ti.types.ndarray(dtype=real, ndim=2),
        room: ti.types.ndarray(dtype=vec4, ndim=1),
        notes: ti.types.ndarray(dtype=ti.i32, ndim=2),
        path: ti.types.ndarray(dtype=vec3, ndim=2),
        v_path: ti.types.ndarray(dtype=vec3, ndim=2),
        starts: ti.types.ndarray(dtype=ti.i32, ndim=1),
        counts: ti.types.ndarray(dtype=ti.i32, ndim=1),
        states: ti.types.ndarray(dtype=vec3, ndim=1),
        fractions: ti.types.ndarray(dtype=real, ndim=1),
        steps: ti.i32,
        v_points: ti.types.ndarray(dtype=vec3, ndim=1),
        v_times: ti.types.ndarray(dtype=real, ndim=2),
        v_nodes: ti.types.ndarray(dtype=ti.i64, ndim=1),
        totals: ti.types.ndarray(dtype=real, ndim=1),
        wants_times: ti.i32,
        wants_nodes: ti.i32,
        scale: ti.f64,
        workers: ti.i32,
        block: ti.i32,
        lanes: ti.i32,
    ):
        for task in range(workers * lanes):
            if task % lanes == 0:
                worker = task // lanes * block
                where = s.box(frame, sizes)
                stages = scheme.shape[0] - 2
                blocks = (order.shape[0] + block - 1) // block
                for b in range(blocks * (task // lanes) // workers, blocks * (task // lanes + 1) // workers):
                    first = b * block
                    count = ti.min(block, order.shape[0] - first)
                    longest = 0
                    for q in range(count):
                        i, at, note = order[first + q], (worker + q) * ROOM, worker + q
                        room[at + STEP] = vec4(0)
                        room[at + GRADIENT] = vec4(0)
                        for corner in range(16):
                            room[at + SUMS + corner] = vec4(0)
                        notes[note, LEFT] = counts[i]
                        longest = ti.max(longest, counts[i])
                        interval = times.shape[0] - 1
                        if steps == 0:
                            interval = 0
                            for n in range(counts[i]):
                                interval += 1 if fractions[starts[i] + n] == 0 else 0
                        notes[note, INTERVAL] = interval
                        for c in ti.static(range(4)):
                            notes[note, BASE + c] = 0
                    for _ in range(longest):
                        # What the step was, and the gradient where it ended.
                        for q in range(count):
                            i, at, note = order[first + q], (worker + q) * ROOM, worker + q
                            notes[note, ACTIVE] = 0
                            if notes[note, LEFT] > 0:
                                notes[note, LEFT] = notes[note, LEFT] - 1
                                row = starts[i] + notes[note, LEFT]
                                step = room[at + STEP]
                                step[2] = step[1]
                                if step[1] == 0:
                                    step[2] = 1
                                    notes[note, INTERVAL] = notes[note, INTERVAL] - 1
                                    end = notes[note, INTERVAL] + 1
                                    if s.is_finite(path[i, end]):
                                        v = v_path[i, end]
                                        room[at + GRADIENT] = room[at + GRADIENT] + vec4(v[0], v[1], v[2], 0)
                                if steps == 0:
                                    step[1] = fractions[row]
                                else:
                                    step[1] = ti.cast(notes[note, LEFT] % steps, real) / steps
                                l = room[at + GRADIENT]
                                if l[0] != 0 or l[1] != 0 or l[2] != 0:
                                    notes[note, ACTIVE] = 1
                                    begin = times[notes[note, INTERVAL]]
                                    span = times[notes[note, INTERVAL] + 1] - begin
                                    x = states[row]
                                    room[at + PLACE] = vec4(x[0], x[1], x[2], begin + step[1] * span)
                                    step[0] = (step[2] - step[1]) * span
                                room[at + STEP] = step
                        # Its stages.
                        for j in range(stages):
                            for q in range(count):
                                at = (worker + q) * ROOM
                                if notes[worker + q, ACTIVE] != 0:
                                    x, h = room[at + PLACE], room[at + STEP][0]
                                    for k in range(j):
                                        x += h * scheme[j, k] * room[at + STAGES + k]
                                    room[at + PLACES + j] = x
                                    v, along_x, along_y, along_z, along_t = s.jet(grid, where, x)
                                    room[at + STAGES + j] = v
                                    for c in ti.static(range(3)):
                                        turn = vec4(along_x[c], along_y[c], along_z[c], along_t[c])
                                        room[at + TURNS + 3 * j + c] = turn
                        # And back.
                        for r in range(stages):
                            j = stages - 1 - r
                            for q in range(count):
                                at = (worker + q) * ROOM
                                if notes[worker + q, ACTIVE] != 0:
                                    h = room[at + STEP][0]
                                    g = scheme[stages, j] * room[at + GRADIENT]
                                    for k in range(j + 1, stages):
                                        g += scheme[k, j] * room[at + PULLS + k]
                                    u = vec4(0)
                                    for c in ti.static(range(3)):
                                        u += h * g[c] * room[at + TURNS + 3 * j + c]
                                    room[at + PULLS + j] = u
                                    # The stage's velocity has done its work; its place keeps what the length got of it.
                                    room[at + STAGES + j][0] = room[at + STAGES + j].dot(g)
                                    if wants_nodes != 0:
                                        g *= h
                                        room[at + STEP][3] = room[at + STEP][3] + ti.max(ti.abs(g[0]), ti.abs(g[1]), ti.abs(g[2]))
                                        x = room[at + PLACES + j]
                                        deposit(where, v_nodes, room, notes, at, worker + q, scale, x, g)
                        for q in range(count):
                            i, at, note = order[first + q], (worker + q) * ROOM, worker + q
                            if notes[note, ACTIVE] != 0:
                                l, step = room[at + GRADIENT], room[at + STEP]
                                v_h = real(0.0)
                                for j in range(stages):
                                    l += room[at + PULLS + j]
                                    v_h += room[at + STAGES + j][0]
                                if wants_times != 0:
                                    v_h *= step[2] - step[1]
                                    v_times[i, notes[note, INTERVAL]] = v_times[i, notes[note, INTERVAL]] + (l[3] * (1 - step[1]) - v_h)
                                    v_times[i, notes[note, INTERVAL] + 1] = v_times[i, notes[note, INTERVAL] + 1] + (l[3] * step[1] + v_h)
                                l[3] = 0
                                room[at + GRADIENT] = l
                    for q in range(count):
                        i, at, note = order[first + q], (worker + q) * ROOM, worker + q
                        if wants_nodes != 0:
                            flush(where, v_nodes, room, notes, at, note, scale, 0, 0)
                        totals[i] = room[at + STEP][3]
                        l = room[at + GRADIENT]
                        v_points[i] = vec3(l[0], l[1], l[2]) + v_path[i, 0]

    return kernel


@once
def to_numbers(dtype: torch.dtype):
    """Kernel: ``numbers = unit * integers``."""

    @ti.kernel
    def kernel(
        integers: ti.types.ndarray(dtype=ti.i64, ndim=1),
        numbers: ti.types.ndarray(dtype=REAL[dtype], ndim=1),
        unit: ti.f64,
    ):
        for i in range(integers.shape[0]):
            numbers[i] = ti.cast(ti.cast(integers[i], ti.f64) * unit, REAL[dtype])

    return kernel
