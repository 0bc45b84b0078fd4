"""Taichi kernels that carry particles through a velocity grid, all steps of a particle on end.

Particles are taken in the given order, in groups; a group is one task. Every ``lanes``-th iteration of the parallel
loop has a group to do and the others nothing, since Taichi gives a CPU thread at least 512 iterations.
A particle that is no finite number, or becomes none, is NaN from there on.
"""

import functools

import torch

from ..bridge import ti
from .sampling import sampler
from .tableaus import GROW, MOST_STAGES, ORDER, SAFETY, SHRINK

NAN = float("nan")


@functools.cache
def stepper(dtype: torch.dtype, boundary: str, fsal: bool):
    """A function that takes one step from ``x``, where the velocity is ``v``: where it leads, and the stages.

    With ``fsal`` the velocity there is a further stage (first of the next step, same as last of this).
    """
    s = sampler(dtype, boundary)

    @ti.func
    def step(grid: ti.template(), where, scheme: ti.template(), stages, t, h, x, v, fresh):
        # Taichi 1.7 loses what is written to a changing row of a local matrix that has a row written by number too.
        k = ti.Matrix.zero(s.real, MOST_STAGES, 3)
        y = x
        for i in range(stages + 1):
            y = x
            for j in range(i):
                weight = h * scheme[i, j]
                for c in ti.static(range(3)):
                    y[c] += weight * k[j, c]
            if (fresh or i > 0) and (i < stages or ti.static(fsal)):
                v = s.velocity(grid, s.locate(where, t + scheme[i, MOST_STAGES] * h, y))
            for c in ti.static(range(3)):
                k[i, c] = v[c]
        return y, k

    return step


@functools.cache
def march(dtype: torch.dtype, boundary: str):
    """Kernel of a scheme with ``steps`` equal steps in each of the intervals between ``times`` [T].

    Writes every ``keep``-th position into ``path`` [N, (T - 1) * steps / keep + 1].
    """
    s, step = sampler(dtype, boundary), stepper(dtype, boundary, fsal=False)
    real, vec3 = s.real, s.vec3

    @ti.kernel
    def kernel(
        order: ti.types.ndarray(dtype=ti.i32, ndim=1),
        points: ti.types.ndarray(dtype=vec3, ndim=1),
        times: ti.types.ndarray(dtype=real, ndim=1),
        grid: ti.types.ndarray(dtype=vec3, ndim=1),
        frame: ti.types.ndarray(dtype=real, ndim=2),
        sizes: ti.types.ndarray(dtype=ti.i32, ndim=1),
        scheme: ti.types.ndarray(dtype=real, ndim=2),
        path: ti.types.ndarray(dtype=vec3, ndim=2),
        steps: ti.i32,
        keep: ti.i32,
        group: ti.i32,
        lanes: ti.i32,
    ):
        for task in range((order.shape[0] + group - 1) // group * lanes):
            if task % lanes == 0:
                where = s.box(frame, sizes)
                first = task // lanes * group
                for p in range(first, ti.min(first + group, order.shape[0])):
                    i = order[p]
                    x = points[i]
                    path[i, 0] = x
                    alive = s.is_finite(x)
                    for n in range((times.shape[0] - 1) * steps):
                        if alive:
                            interval = n // steps
                            span = times[interval + 1] - times[interval]
                            t = times[interval] + span * (n % steps) / steps
                            x, _ = step(grid, where, scheme, scheme.shape[0] - 2, t, span / steps, x, vec3(0), True)
                            alive = s.is_finite(x)
                        if not alive:
                            x = vec3(real(NAN))
                        if (n + 1) % keep == 0:
                            path[i, (n + 1) // keep] = x

    return kernel


@functools.cache
def march_adaptively(dtype: torch.dtype, boundary: str):
    """Kernel of an adaptive scheme, with step sizes of its own for every particle.

    A step whose estimated error, relative to ``atol + rtol |x|`` and in the root mean square over the axes, exceeds 1
    is tried again smaller. Steps end at ``times`` [T] and are no longer than ``longest``. A particle that needs more
    than ``most`` trials for an interval is NaN from there on.

    Writes positions into ``path`` [N, T], and into ``counts`` [N] how many steps were accepted. Where ``record`` is
    set, also where each of them began and at which fraction of its interval: ``starts`` [N] is a particle's first row
    in ``states`` and ``fractions``.
    """
    s, step = sampler(dtype, boundary), stepper(dtype, boundary, fsal=True)
    real, vec3 = s.real, s.vec3
    smallest = 16 * torch.finfo(dtype).eps  # fraction of an interval

    @ti.kernel
    def kernel(
        order: ti.types.ndarray(dtype=ti.i32, ndim=1),
        points: ti.types.ndarray(dtype=vec3, ndim=1),
        times: ti.types.ndarray(dtype=real, ndim=1),
        grid: ti.types.ndarray(dtype=vec3, ndim=1),
        frame: ti.types.ndarray(dtype=real, ndim=2),
        sizes: ti.types.ndarray(dtype=ti.i32, ndim=1),
        scheme: ti.types.ndarray(dtype=real, ndim=2),
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
        group: ti.i32,
        lanes: ti.i32,
    ):
        for task in range((order.shape[0] + group - 1) // group * lanes):
            if task % lanes == 0:
                where = s.box(frame, sizes)
                first = task // lanes * group
                stages = scheme.shape[0] - 2
                for p in range(first, ti.min(first + group, order.shape[0])):
                    i = order[p]
                    x = points[i]
                    path[i, 0] = x
                    alive = s.is_finite(x)
                    accepted = 0
                    stride = longest
                    v = vec3(0)
                    fresh = True
                    for interval in range(times.shape[0] - 1):
                        span = times[interval + 1] - times[interval]
                        at = real(0.0)
                        trials = 0
                        while alive and at < 1:
                            part = 1 - at
                            if stride < part * ti.abs(span):
                                part = ti.min(part, ti.max(stride / ti.abs(span), real(smallest)))
                            whole = at + part > 1 - real(smallest)
                            if whole:
                                part = 1 - at
                            h = part * span
                            y, k = step(grid, where, scheme, stages, times[interval] + at * span, h, x, v, fresh)
                            fresh = False
                            v = vec3(k[0, 0], k[0, 1], k[0, 2])
                            square = real(0.0)
                            for c in ti.static(range(3)):
                                e = real(0.0)
                                for j in range(stages + 1):
                                    e += scheme[stages + 1, j] * k[j, c]
                                e *= h / (atol + rtol * ti.max(ti.abs(x[c]), ti.abs(y[c])))
                                square += e * e / 3
                            trials += 1
                            alive = s.is_finite(y) and s.is_finite(vec3(square)) and trials <= most
                            if alive:
                                factor = real(GROW)
                                if square > 0:
                                    factor = real(SAFETY) * ti.pow(square, real(-0.5 / ORDER))
                                    factor = ti.min(ti.max(factor, real(SHRINK)), real(GROW))
                                if square <= 1 or part <= real(smallest):
                                    if record != 0:
                                        states[starts[i] + accepted] = x
                                        fractions[starts[i] + accepted] = at
                                    accepted += 1
                                    # A step that an output cut short says little of how long the next may be.
                                    best = ti.abs(h) * factor
                                    if whole and factor >= 1:
                                        best = ti.max(best, stride)
                                    stride = ti.min(best, longest)
                                    at = real(1.0) if whole else at + part
                                    x = y
                                    v = vec3(k[stages, 0], k[stages, 1], k[stages, 2])
                                else:
                                    stride = ti.abs(h) * ti.min(factor, real(1.0))
                        if not alive:
                            x = vec3(real(NAN))
                        path[i, interval + 1] = x
                    counts[i] = accepted

    return kernel
