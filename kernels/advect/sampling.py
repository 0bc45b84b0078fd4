"""Looking up a velocity grid, in Taichi: trilinear in space, linear in time.

A grid is [T', X, Y, Z] vectors, taken as one row of vectors. Its nodes are evenly spaced. Along an axis a place is
told by its base, the node below it, and its fraction of the way to the next; time is the fourth axis. Beyond the first
and last time the velocity is what it is there.
"""

import functools
from types import SimpleNamespace

import torch

from ..bridge import ti

BOUNDARIES = ("clamp", "zero", "periodic")
REAL = {torch.float32: ti.f32, torch.float64: ti.f64}
MOST_NODES = 500_000_000  # of a grid
NOWHERE = -700_000_000  # offset of a node that is not there: added to up to two such and to nodes it stays negative


@functools.cache
def finite_check(dtype: torch.dtype):
    """A function that tells whether all of a vector's three components are finite numbers.

    It looks at the bits, since Taichi compiles arithmetic as if there were no others.
    """
    integer, exponent = (ti.i32, 0x7F800000) if dtype == torch.float32 else (ti.i64, 0x7FF0000000000000)

    @ti.func
    def is_finite(v):
        answer = True
        for c in ti.static(range(3)):
            if (ti.bit_cast(v[c], integer) & integer(exponent)) == integer(exponent):
                answer = False
        return answer

    return is_finite


@functools.cache
def sampler(dtype: torch.dtype, boundary: str) -> SimpleNamespace:
    """Functions for kernels over numbers of ``dtype``, with one of :data:`BOUNDARIES`:

    ``box(frame, sizes)``: where the grid lies, from a kernel's arguments;
    ``locate(box, t, x)``: the place of a point and a time;
    ``node(place, corner)``: index of one of the 16 nodes around it, negative where there is none;
    ``velocity(grid, place)``; and ``jet(grid, place)``: velocity, its derivatives ``dv_i/dx_j`` and ``dv/dt``.
    """
    real = REAL[dtype]
    vec3, vec4, ivec4 = ti.types.vector(3, real), ti.types.vector(4, real), ti.types.vector(4, ti.i32)
    matrix3 = ti.types.matrix(3, 3, real)
    rules = (boundary, boundary, boundary, "clamp")
    Box = ti.types.struct(lower=vec4, rate=vec4, sizes=ivec4, strides=ivec4)
    # Slopes are nodes per unit, 0 where the grid is held constant; offsets are of the nodes below and above.
    Place = ti.types.struct(base=ivec4, fraction=vec4, slope=vec4, below=ivec4, above=ivec4)

    @ti.func
    def box(frame: ti.template(), sizes: ti.template()):
        made = Box()
        for c in ti.static(range(4)):
            made.lower[c] = frame[0, c]
            made.rate[c] = frame[1, c]
            made.sizes[c] = sizes[c]
        made.strides = ivec4(sizes[1] * sizes[2], sizes[2], 1, sizes[0] * sizes[1] * sizes[2])
        return made

    @ti.func
    def locate(where, t, x):
        place = Place()
        u = vec4(x[0], x[1], x[2], t)
        for c in ti.static(range(4)):
            size = where.sizes[c]
            at = (u[c] - where.lower[c]) * where.rate[c]
            slope = where.rate[c]
            lowest, highest = 0, size - 1  # of bases
            if ti.static(rules[c] == "periodic"):
                at -= size * ti.floor(at / size)
            else:
                first, last = real(0.0), ti.cast(size - 1, real)
                if ti.static(rules[c] == "zero"):
                    first -= 1
                    last += 1
                    lowest = -1
                else:
                    highest = ti.max(size - 2, 0)
                if at < first or at > last:
                    slope = 0
                at = ti.min(ti.max(at, first), last)
            base = ti.min(ti.max(ti.cast(ti.floor(at), ti.i32), lowest), highest)
            above = base + 1
            if ti.static(rules[c] == "periodic"):
                above = 0 if above >= size else above
            if ti.static(rules[c] == "clamp"):
                above = ti.min(above, size - 1)
            place.base[c] = base
            place.fraction[c] = at - base
            place.slope[c] = slope
            place.below[c] = base * where.strides[c]
            place.above[c] = above * where.strides[c]
            if ti.static(rules[c] == "zero"):
                place.below[c] = NOWHERE if base < 0 else place.below[c]
                place.above[c] = NOWHERE if above >= size else place.above[c]
        return place

    @ti.func
    def node(place, corner):
        index = 0
        for c in ti.static(range(4)):
            index += place.above[c] if (corner >> c) & 1 != 0 else place.below[c]
        return index

    @ti.func
    def at_node(grid: ti.template(), place, corner):
        index = node(place, corner)
        v = vec3(0)
        if ti.static(boundary == "zero"):
            if index >= 0:
                v = grid[index]
        else:
            v = grid[index]
        return v

    @ti.func
    def velocity(grid: ti.template(), place):
        f = place.fraction
        sides = ti.Matrix.zero(real, 8, 3)
        for corner in range(8):
            early, late = at_node(grid, place, corner), at_node(grid, place, corner + 8)
            for c in ti.static(range(3)):
                sides[corner, c] = early[c] + f[3] * (late[c] - early[c])
        v = vec3(0)
        for c in ti.static(range(3)):
            for k in ti.static(range(0, 8, 2)):
                sides[k, c] += f[0] * (sides[k + 1, c] - sides[k, c])
            for k in ti.static(range(0, 8, 4)):
                sides[k, c] += f[1] * (sides[k + 2, c] - sides[k, c])
            v[c] = sides[0, c] + f[2] * (sides[4, c] - sides[0, c])
        return v

    @ti.func
    def jet(grid: ti.template(), place):
        f, slope = place.fraction, place.slope
        sides, change = ti.Matrix.zero(real, 8, 3), ti.Matrix.zero(real, 8, 3)
        for corner in range(8):
            early, late = at_node(grid, place, corner), at_node(grid, place, corner + 8)
            for c in ti.static(range(3)):
                change[corner, c] = late[c] - early[c]
                sides[corner, c] = early[c] + f[3] * change[corner, c]
        v, in_space, in_time = vec3(0), matrix3(0), vec3(0)
        for c in ti.static(range(3)):
            dx, dy = vec4(0), vec4(0)
            for k in ti.static(range(0, 8, 2)):
                change[k, c] += f[0] * (change[k + 1, c] - change[k, c])
                dx[k // 2] = sides[k + 1, c] - sides[k, c]
                sides[k, c] += f[0] * dx[k // 2]
            for k in ti.static(range(0, 8, 4)):
                change[k, c] += f[1] * (change[k + 2, c] - change[k, c])
                dx[k // 2] += f[1] * (dx[k // 2 + 1] - dx[k // 2])
                dy[k // 4] = sides[k + 2, c] - sides[k, c]
                sides[k, c] += f[1] * dy[k // 4]
            dz = sides[4, c] - sides[0, c]
            v[c] = sides[0, c] + f[2] * dz
            in_space[c, 0] = slope[0] * (dx[0] + f[2] * (dx[2] - dx[0]))
            in_space[c, 1] = slope[1] * (dy[0] + f[2] * (dy[1] - dy[0]))
            in_space[c, 2] = slope[2] * dz
            in_time[c] = slope[3] * (change[0, c] + f[2] * (change[4, c] - change[0, c]))
        return v, in_space, in_time

    return SimpleNamespace(
        real=real, vec3=vec3, vec4=vec4, ivec4=ivec4, matrix3=matrix3, box=box, locate=locate, node=node,
        velocity=velocity, jet=jet, is_finite=finite_check(dtype),
    )  # fmt: skip
