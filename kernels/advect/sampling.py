"""Looking up a velocity grid, in Taichi: trilinear in space, linear in time.

Time is the fourth coordinate, whose velocity is one: a place is (x, y, z, t) and a velocity (vx, vy, vz, 1), so that
steps and their adjoints need no terms for time. A grid is [T', X, Y, Z] vectors (vx, vy, vz), taken as one row. Nodes
are evenly spaced. Along an axis a place is told by its base, the node below it, and its fraction
of the way to the next. Beyond the first and last time the velocity is what it is there.
"""

from types import SimpleNamespace

import torch

from ..bridge import ti
from ..once import once

REAL = {torch.float32: ti.f32, torch.float64: ti.f64}
NOWHERE = -700_000_000  # offset of a node that is not there: added to up to two such and to any node it stays negative


@once
def finite_check(dtype: torch.dtype):
    """A function that tells whether the first three components of a vector are finite numbers.

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


@once
def sampler(dtype: torch.dtype, boundary: str) -> SimpleNamespace:
    """Functions for kernels over numbers of ``dtype`` with one of the boundaries clamp, zero and periodic:

    ``box(frame, sizes)``: where the grid lies, from a kernel's arguments;
    ``locate(box, x)``: base and fraction of a place, and slopes: nodes per unit, 0 where the grid is held constant;
    ``around(box, base)``: offsets of the nodes below and above along each axis;
    ``node(below, above, corner)``: index of one of the 16 nodes around, negative where there is none;
    ``velocity(grid, box, x)``; ``jet(grid, box, x)``: velocity and its derivatives along x, y, z and t.
    """
    real = REAL[dtype]
    vec3, vec4, ivec4 = ti.types.vector(3, real), ti.types.vector(4, real), ti.types.vector(4, ti.i32)
    rules = (boundary, boundary, boundary, "clamp")
    Box = ti.types.struct(lower=vec4, rate=vec4, sizes=ivec4, strides=ivec4)

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
    def locate(where, x):
        base, fraction, slope = ivec4(0), vec4(0), vec4(0)
        for c in ti.static(range(4)):
            size = where.sizes[c]
            at = (x[c] - where.lower[c]) * where.rate[c]
            slope[c] = where.rate[c]
            if ti.static(rules[c] == "periodic"):
                at -= size * ti.floor(at / size)
                base[c] = ti.min(ti.max(ti.cast(at, ti.i32), 0), size - 1)
            else:
                # Cells outside count where velocities go to zero; then the first is -1, and rounding is of numbers
                # above zero all the same.
                outer = ti.static(1 if rules[c] == "zero" else 0)
                at += outer
                last = ti.cast(size - 1 + 2 * outer, real)
                # Beyond the ends there are cells whose nodes are one and the same, so that no other is looked at.
                beyond = ti.select(at < 0, -1, ti.select(at > last, 1, 0))
                slope[c] = ti.select(beyond == 0, slope[c], real(0.0))
                at = ti.min(ti.max(at, real(0.0)), last)
                base[c] = ti.max(ti.min(ti.cast(at, ti.i32), size - 2 + 2 * outer), 0) - outer + beyond
                at -= outer
            fraction[c] = at - base[c]
        return base, fraction, slope

    @ti.func
    def around(where, base):
        below, above = ivec4(0), ivec4(0)
        for c in ti.static(range(4)):
            size, stride = where.sizes[c], where.strides[c]
            below[c] = base[c] * stride
            if ti.static(rules[c] == "periodic"):
                above[c] = ti.select(base[c] + 1 < size, below[c] + stride, 0)
            elif ti.static(rules[c] == "zero"):
                below[c] = ti.select(base[c] >= 0 and base[c] < size, below[c], NOWHERE)
                above[c] = ti.select(base[c] >= -1 and base[c] + 1 < size, (base[c] + 1) * stride, NOWHERE)
            else:
                below[c] = ti.max(base[c], 0) * stride
                above[c] = ti.min(base[c] + 1, size - 1) * stride
        return below, above

    @ti.func
    def node(below, above, corner):
        index = 0
        for c in ti.static(range(4)):
            index += above[c] if (corner >> c) & 1 != 0 else below[c]
        return index

    @ti.func
    def read(grid: ti.template(), index):
        v = vec3(0)
        if ti.static(boundary == "zero"):
            if index >= 0:
                v = grid[index]
        else:
            v = grid[index]
        return v

    @ti.func
    def mix(a, b, f):
        return a + f * (b - a)

    # Blended along time, x, y and z in turn; jets keep the differences they meet.

    @ti.func
    def blend_x(grid: ti.template(), f, below, above, yz):
        a, b = below[0] + yz, above[0] + yz
        early, late = below[3], above[3]
        return mix(
            mix(read(grid, a + early), read(grid, a + late), f[3]),
            mix(read(grid, b + early), read(grid, b + late), f[3]),
            f[0],
        )

    @ti.func
    def blend_y(grid: ti.template(), f, below, above, z):
        a = blend_x(grid, f, below, above, below[1] + z)
        return mix(a, blend_x(grid, f, below, above, above[1] + z), f[1])

    @ti.func
    def velocity(grid: ti.template(), where, x):
        base, f, _ = locate(where, x)
        below, above = around(where, base)
        a = blend_y(grid, f, below, above, below[2])
        v = mix(a, blend_y(grid, f, below, above, above[2]), f[2])
        return vec4(v[0], v[1], v[2], 1)

    @ti.func
    def jet_x(grid: ti.template(), f, below, above, yz):
        a, b = below[0] + yz, above[0] + yz
        early_a, early_b = read(grid, a + below[3]), read(grid, b + below[3])
        t_a, t_b = read(grid, a + above[3]) - early_a, read(grid, b + above[3]) - early_b
        v = early_a + f[3] * t_a
        x = early_b + f[3] * t_b - v
        return v + f[0] * x, x, mix(t_a, t_b, f[0])

    @ti.func
    def jet_y(grid: ti.template(), f, below, above, z):
        v, x_a, t_a = jet_x(grid, f, below, above, below[1] + z)
        v_b, x_b, t_b = jet_x(grid, f, below, above, above[1] + z)
        y = v_b - v
        return v + f[1] * y, mix(x_a, x_b, f[1]), y, mix(t_a, t_b, f[1])

    @ti.func
    def jet(grid: ti.template(), where, at):
        base, f, slope = locate(where, at)
        below, above = around(where, base)
        v, x_a, y_a, t_a = jet_y(grid, f, below, above, below[2])
        v_b, x_b, y_b, t_b = jet_y(grid, f, below, above, above[2])
        z = v_b - v
        x, y, t = mix(x_a, x_b, f[2]), mix(y_a, y_b, f[2]), mix(t_a, t_b, f[2])
        v += f[2] * z
        return vec4(v[0], v[1], v[2], 1), slope[0] * x, slope[1] * y, slope[2] * z, slope[3] * t

    return SimpleNamespace(
        real=real, vec3=vec3, vec4=vec4, ivec4=ivec4, box=box, locate=locate, around=around, node=node,
        velocity=velocity, jet=jet, is_finite=finite_check(dtype),
    )  # fmt: skip
