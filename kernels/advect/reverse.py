"""Taichi kernel that takes gradients back along the paths of particles: the adjoint of the steps that were taken.

With ``l`` the gradient at the end of a step, from the last stage to the first::

    s_i = b_i l + sum_{j>i} a_ji u_j,    u_i = h J_i^T s_i,    l at the start = l + sum_i u_i

where ``J_i`` is the derivative of the velocity at stage i; ``h s_i`` is the gradient of the velocity that was looked up
there, ``sum_i k_i s_i`` and ``h sum_i dv_i/dt s_i`` are those of the step's length and of its times (Hager 2000; Sandu
2006, discrete adjoints of Runge-Kutta schemes). The stages are computed anew from where the step began.

Gradients of the grid's nodes are sums over many particles. They are added up as integers, which come to the same in
whatever order threads add them.
"""

import functools

import torch

from ..bridge import ti
from .sampling import REAL, sampler
from .tableaus import MOST_STAGES


@functools.cache
def deposits(dtype: torch.dtype, boundary: str):
    """``deposit`` adds a gradient at a place to sums that a particle keeps of the 16 nodes around it; where the place
    is another, ``flush`` first adds these to the grid's: integers, ``scale`` times the numbers."""
    s = sampler(dtype, boundary)
    real = s.real

    @ti.func
    def flush(nodes: ti.template(), scale, total, place, sums: ti.template(), early, late):
        """Empty the sums of the earlier and of the later eight nodes. A ``total`` beyond numbers flushes nothing."""
        fits = s.is_finite(ti.Vector([total, total, total]))
        for corner in range(0 if early else 8, 16 if late else 8):
            index = s.node(place, corner)
            for c in ti.static(range(3)):
                if fits and index >= 0:
                    nodes[3 * index + c] += ti.cast(ti.cast(sums[corner, c], ti.f64) * scale, ti.i64)
                sums[corner, c] = 0

    @ti.func
    def deposit(nodes: ti.template(), scale, total, held: ti.template(), place, sums: ti.template(), v):
        same = True
        for c in ti.static(range(3)):
            same = same and place.base[c] == held.base[c]
        later = place.base[3] - held.base[3]
        if not same or later != 0:
            # Where only time went on by one, what was the earlier half is the later now, or the other way round.
            back, on = same and later == -1, same and later == 1
            flush(nodes, scale, total, held, sums, not back, not on)
            if back or on:
                full, empty = 0 if back else 8, 8 if back else 0
                for corner in range(8):
                    for c in ti.static(range(3)):
                        sums[empty + corner, c] = sums[full + corner, c]
                        sums[full + corner, c] = 0
            held = place
        f = place.fraction
        for corner in range(16):
            weight = real(1.0)
            for c in ti.static(range(4)):
                weight *= f[c] if (corner >> c) & 1 != 0 else 1 - f[c]
            for c in ti.static(range(3)):
                sums[corner, c] += weight * v[c]

    return flush, deposit


@functools.cache
def reverse(dtype: torch.dtype, boundary: str, adaptive: bool):
    """Kernel: gradients ``v_points`` [N], ``v_times`` [N, T] (if ``wants_times``) and ``v_nodes`` [3 * nodes] (int64,
    if ``wants_nodes``; added to) from those of positions ``v_path`` [N, T].

    ``states`` holds where each step began, a particle's from row ``starts[i]`` on, ``counts[i]`` of them. Adaptive
    steps begin at ``fractions`` of their intervals; others are ``steps`` in each. ``totals`` [N] become bounds of what
    a particle adds to any node's gradient.
    """
    s = sampler(dtype, boundary)
    flush, deposit = deposits(dtype, boundary)
    real, vec3 = s.real, s.vec3

    @ti.kernel
    def kernel(
        order: ti.types.ndarray(dtype=ti.i32, ndim=1),
        times: ti.types.ndarray(dtype=real, ndim=1),
        grid: ti.types.ndarray(dtype=vec3, ndim=1),
        frame: ti.types.ndarray(dtype=real, ndim=2),
        sizes: ti.types.ndarray(dtype=ti.i32, ndim=1),
        scheme: ti.types.ndarray(dtype=real, ndim=2),
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
        group: ti.i32,
        lanes: ti.i32,
    ):
        for task in range((order.shape[0] + group - 1) // group * lanes):
            if task % lanes == 0:
                where = s.box(frame, sizes)
                stages = scheme.shape[0] - 2
                first = task // lanes * group
                for p in range(first, ti.min(first + group, order.shape[0])):
                    i = order[p]
                    l = vec3(0)
                    total = real(0.0)
                    sums = ti.Matrix.zero(real, 16, 3)
                    held = s.locate(where, times[0], path[i, 0])
                    count = counts[i]
                    interval = times.shape[0] - 1
                    if ti.static(adaptive):
                        interval = 0
                        for n in range(count):
                            interval += 1 if fractions[starts[i] + n] == 0 else 0
                    upper = real(0.0)  # fraction of the interval at which the step ends
                    for back in range(count):
                        n = count - 1 - back
                        row = starts[i] + n
                        if upper == 0:
                            upper = 1
                            interval -= 1
                            if s.is_finite(path[i, interval + 1]):
                                l += v_path[i, interval + 1]
                        lower = ti.cast(n % steps, real) / steps
                        if ti.static(adaptive):
                            lower = fractions[row]
                        if l[0] != 0 or l[1] != 0 or l[2] != 0:
                            x = states[row]
                            span = times[interval + 1] - times[interval]
                            t, h = times[interval] + lower * span, (upper - lower) * span
                            k, y = ti.Matrix.zero(real, MOST_STAGES, 3), ti.Matrix.zero(real, MOST_STAGES, 3)
                            turn, change = ti.Matrix.zero(real, MOST_STAGES, 9), ti.Matrix.zero(real, MOST_STAGES, 3)
                            u = ti.Matrix.zero(real, MOST_STAGES, 3)
                            for j in range(stages):
                                at = x
                                for q in range(j):
                                    weight = h * scheme[j, q]
                                    for c in ti.static(range(3)):
                                        at[c] += weight * k[q, c]
                                place = s.locate(where, t + scheme[j, MOST_STAGES] * h, at)
                                v, in_space, in_time = s.jet(grid, place)
                                for c in ti.static(range(3)):
                                    k[j, c], y[j, c], change[j, c] = v[c], at[c], in_time[c]
                                    for d in ti.static(range(3)):
                                        turn[j, 3 * c + d] = in_space[c, d]
                            v_h, v_t = real(0.0), real(0.0)
                            v_x = l
                            for r in range(stages):
                                j = stages - 1 - r
                                g = scheme[stages, j] * l
                                for q in range(j + 1, stages):
                                    for c in ti.static(range(3)):
                                        g[c] += scheme[q, j] * u[q, c]
                                along = real(0.0)
                                for d in ti.static(range(3)):
                                    z = real(0.0)
                                    for c in ti.static(range(3)):
                                        z += turn[j, 3 * c + d] * g[c]
                                    u[j, d] = h * z
                                    v_x[d] += h * z
                                    v_h += k[j, d] * g[d]
                                    along += change[j, d] * g[d]
                                v_t += h * along
                                v_h += scheme[j, MOST_STAGES] * h * along
                                g *= h
                                if wants_nodes != 0:
                                    total += ti.max(ti.abs(g[0]), ti.abs(g[1]), ti.abs(g[2]))
                                    at = vec3(y[j, 0], y[j, 1], y[j, 2])
                                    place = s.locate(where, t + scheme[j, MOST_STAGES] * h, at)
                                    deposit(v_nodes, scale, total, held, place, sums, g)
                            l = v_x
                            if wants_times != 0:
                                v_times[i, interval] += v_t * (1 - lower) - v_h * (upper - lower)
                                v_times[i, interval + 1] += v_t * lower + v_h * (upper - lower)
                        upper = lower
                    if wants_nodes != 0:
                        flush(v_nodes, scale, total, held, sums, True, True)
                    totals[i] = total
                    v_points[i] = l + v_path[i, 0]

    return kernel


@functools.cache
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
