"""Compositing on the CPU for up to sixteen channels, its adjoint, and maps lifted by it.

One task is one tile: Gaussians outside, pixels inside, eight at a time, over the groups of pixels that the ellipse
covers. The adjoint replays the image front to back with the same arithmetic: with R = sum over the Gaussians behind of
w (f . g), plus what the final transmittance T_f contributes, dL/dalpha = T (f . g) - R / (1 - alpha), and R starts as
(image . g) - T_f g_alpha. The gradients of an intersection (tile, Gaussian) go to a row of their own: no atomics, and
the same sums in the same order whatever the number of threads.
"""

import warp as wp

from ..native import kernel
from ..once import once
from .native import snippet

MAX_CHANNELS = 16

_FORWARD = r"""
const Constants constants = Constants().hidden();
while (true) {
    const int index = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
    if (index >= tasks) return;
    Tile tile(index, width, height, constants);
    V image[D][GROUPS] = {};
    for (List list(records.data, entries.data, starts.data, index); list.more() && tile.live > 0;) {
        const Record& r = list.next();
        __builtin_prefetch(colors.data + (long long)list.soon().color * D);
        const Splat s(r, tile);
        const R* f = colors.data + (long long)r.color * D;
        for (int h = 0; h < 2; h++)
            for (unsigned rows = s.rows[h]; rows; rows &= rows - 1) {
                const int row = __builtin_ctz(rows), g = 2 * row + h;
                V w;
                tile.step(g, s.alpha(h, row), w);
                for (int d = 0; d < D; d++) image[d][g] += w * f[d];
            }
    }
    R behind[D] = {};
    if (backgrounds.shape[0] > 0)
        for (int d = 0; d < D; d++) behind[d] = backgrounds.data[tile.camera * D + d];
    for (int g = 0; g < GROUPS; g++) {
        const V T = __builtin_elementwise_max(tile.T[g], -tile.T[g]);
        const long long pixel = tile.pixel(g);
        for (int j = 0; j < tile.lanes(g); j++) {
            transmittance.data[pixel + j] = T[j];
            alphas.data[pixel + j] = R(1) - T[j];
            for (int d = 0; d < D; d++) out.data[(pixel + j) * D + d] = image[d][g][j] + T[j] * behind[d];
        }
    }
}
"""

# Row of an intersection: with q the derivative by the exponent, the sums over pixels of q, q dx, q dy, q dx dx,
# q dx dy, q dy dy, then (ABS) |q dx'|, |q dy'| with (dx', dy') = conic (dx, dy), then the gradient of the colour.
_BACKWARD = r"""
constexpr int WIDTH = 6 + 2 * ABS + D;
const Constants constants = Constants().hidden();
while (true) {
    const int index = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
    if (index >= tasks) return;
    Tile tile(index, width, height, constants);
    V v[D][GROUPS] = {}, rest[GROUPS] = {};
    for (int g = 0; g < GROUPS; g++) {
        const long long pixel = tile.pixel(g);
        for (int j = 0; j < tile.lanes(g); j++) {
            R r = v_alphas.shape[0] > 0 ? -transmittance.data[pixel + j] * v_alphas.data[pixel + j] : R(0);
            for (int d = 0; d < D; d++) {
                const R x = v_out.data[(pixel + j) * D + d];
                v[d][g][j] = x;
                r += x * out.data[(pixel + j) * D + d];
            }
            rest[g][j] = r;
        }
    }
    for (List list(records.data, entries.data, starts.data, index); list.more();) {
        const Record& record = list.next();
        __builtin_prefetch(colors.data + (long long)list.soon().color * D);
        R* row_out = rows.data + Intersection::of(record, tile) * WIDTH;
        V sum[WIDTH] = {};
        if (tile.live > 0) {
            const Splat s(record, tile);
            const R* f = colors.data + (long long)record.color * D;
            for (int h = 0; h < 2; h++) {
                const V dx = s.dx[h];
                V q0 = {}, q1 = {}, q2 = {};  // sums over rows of q, q dy, q dy dy
                for (unsigned rows = s.rows[h]; rows; rows &= rows - 1) {
                    const int row = __builtin_ctz(rows), g = 2 * row + h;
                    const R dy = s.down(row);
                    const V raw = s.alpha(h, row), T = tile.T[g];
                    V w;
                    const V alpha = tile.step(g, raw, w);
                    if (!Vec::any(w)) continue;
                    V c = f[0] * v[0][g];
                    for (int d = 1; d < D; d++) c += f[d] * v[d][g];
                    // Pixels without weight do not count: their gradients may be no numbers, c beyond all numbers.
                    const M counts = w > V{};
                    const V left = rest[g] - Vec::keep(counts, w * c);
                    rest[g] = left;
                    const V slope = T * c - left / (constants.one - alpha);
                    const V q = Vec::keep(counts & (raw <= constants.alpha_max), alpha * slope);
                    const V qy = q * dy;
                    q0 += q;
                    q1 += qy;
                    q2 += qy * dy;
                    if constexpr (ABS) {
                        const V qx = q * dx;
                        const V gx = record.A * qx + record.B * qy, gy = record.B * qx + record.C * qy;
                        sum[6] += __builtin_elementwise_max(gx, -gx);
                        sum[7] += __builtin_elementwise_max(gy, -gy);
                    }
                    for (int d = 0; d < D; d++) sum[6 + 2 * ABS + d] += w * Vec::keep(counts, v[d][g]);
                }
                const V qx = q0 * dx;
                sum[0] += q0;
                sum[1] += qx;
                sum[2] += q1;
                sum[3] += qx * dx;
                sum[4] += q1 * dx;
                sum[5] += q2;
            }
        }
        Vec::sums(sum, WIDTH, row_out);
    }
}
"""

# Row of an intersection: the sums over pixels of the weight times each channel of the maps, then of the weight.
_LIFT = r"""
const Constants constants = Constants().hidden();
while (true) {
    const int index = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
    if (index >= tasks) return;
    Tile tile(index, width, height, constants);
    V v[D][GROUPS] = {};
    for (int g = 0; g < GROUPS; g++)
        for (int j = 0; j < tile.lanes(g); j++)
            for (int d = 0; d < D; d++) v[d][g][j] = maps.data[(tile.pixel(g) + j) * D + d];
    for (List list(records.data, entries.data, starts.data, index); list.more();) {
        const Record& record = list.next();
        V sum[D + 1] = {};
        if (tile.live > 0) {
            const Splat s(record, tile);
            for (int h = 0; h < 2; h++)
                for (unsigned rows = s.rows[h]; rows; rows &= rows - 1) {
                    const int row = __builtin_ctz(rows), g = 2 * row + h;
                    V w;
                    tile.step(g, s.alpha(h, row), w);
                    // Pixels without weight do not count: they may hold no numbers.
                    for (int d = 0; d < D; d++) sum[d] += Vec::keep(w > R(0), w * v[d][g]);
                    sum[D] += w;
                }
        }
        Vec::sums(sum, D + 1, rows.data + Intersection::of(record, tile) * (D + 1));
    }
}
"""

# Sums the rows of a splat: gradients by its mean, conic and opacity, and its colour where that is its own. The index is
# that of the colour.
_GEOMETRY = r"""
constexpr int WIDTH = 6 + 2 * ABS + D;
const int splat = slots.shape[0] > 0 ? slots.data[index] : index;
if (splat < 0) {
    for (int d = 0; d < D; d++) v_colors.data[index * (long long)D + d] = R(0);
    return;
}
const int first = rank.data[2 * splat], count = rank.data[2 * splat + 1];
const int soon = 2 * (splat + 8) < rank.shape[0] ? splat + 8 : splat;
__builtin_prefetch(rows.data + (long long)rank.data[2 * soon] * row_width);
__builtin_prefetch(rows.data + (long long)rank.data[2 * soon] * row_width + 64 / sizeof(R));
R sum[WIDTH] = {};
for (int i = 0; i < count; i++) {
    const R* row = rows.data + (long long)(first + i) * row_width;
    for (int j = 0; j < WIDTH; j++) sum[j] += row[j];
}
const R* conic = conics.data + 3 * splat;
v_means2d.data[2 * splat] = conic[0] * sum[1] + conic[1] * sum[2];
v_means2d.data[2 * splat + 1] = conic[1] * sum[1] + conic[2] * sum[2];
v_conics.data[3 * splat] = R(-0.5) * sum[3];
v_conics.data[3 * splat + 1] = -sum[4];
v_conics.data[3 * splat + 2] = R(-0.5) * sum[5];
v_opacities.data[splat] = count > 0 ? sum[0] / opacities.data[splat] : R(0);
if constexpr (ABS) {
    v_absolute.data[2 * splat] = sum[6];
    v_absolute.data[2 * splat + 1] = sum[7];
}
if (v_colors.shape[0] > 0)
    for (int d = 0; d < D; d++) v_colors.data[index * (long long)D + d] = sum[6 + 2 * ABS + d];
"""

# Sums columns of the rows of all splats that share a row of colours (a Gaussian seen by several cameras).
_COLORS = r"""
R* out = v_colors.data + (long long)index * channels + channel;
if (!accumulate)
    for (int d = 0; d < count; d++) out[d] = R(0);
const int views = colors_of == 1 ? slots.shape[0] / v_colors_rows : 1;
for (int c = 0; c < views; c++) {
    const int slot = colors_of == 0 ? index : slots.data[(long long)c * v_colors_rows + index];
    if (slot < 0) continue;
    const int first = rank.data[2 * slot], intersections = rank.data[2 * slot + 1];
    for (int i = 0; i < intersections; i++) {
        const R* row = rows.data + (long long)(first + i) * row_width + column;
        for (int d = 0; d < count; d++) out[d] += row[d];
    }
}
"""


@once
def compositing(real, channels: int):
    """Kernel that composites ``channels`` (at most MAX_CHANNELS) channels."""
    reals, ints = wp.array(dtype=real), wp.array(dtype=wp.int32)
    return kernel(
        "composite",
        f"semaflow_composite_{real.__name__}_{channels}",
        snippet(real, _FORWARD, D=channels),
        {
            "width": int,
            "height": int,
            "starts": ints,
            "entries": ints,
            "records": ints,
            "colors": reals,
            "backgrounds": reals,
            "out": reals,
            "alphas": reals,
            "transmittance": reals,
            "tasks": int,
            "counter": ints,
        },
    )


@once
def compositing_adjoint(real, channels: int, absolute: bool):
    """Kernels ``(adjoint, reduction)``: a row of gradients per intersection, and their sums per splat.

    With no channels there is only the reduction, for rows of the geometry alone.
    """
    reals, ints = wp.array(dtype=real), wp.array(dtype=wp.int32)
    module = f"semaflow_composite_adjoint_{real.__name__}_{channels}_{absolute:d}"
    adjoint = channels and kernel(
        "composite_adjoint",
        module,
        snippet(real, _BACKWARD, D=channels, ABS=absolute),
        {
            "width": int, "height": int, "starts": ints, "entries": ints, "records": ints, "colors": reals,
            "out": reals, "transmittance": reals, "v_out": reals, "v_alphas": reals, "rows": reals, "tasks": int,
            "counter": ints,
        },
    )  # fmt: skip
    reduction = kernel(
        "reduction",
        module,
        snippet(real, _GEOMETRY, D=channels, ABS=absolute),
        {
            "rows": reals, "row_width": int, "rank": ints, "conics": reals, "opacities": reals,
            "slots": ints, "v_means2d": reals,
            "v_absolute": reals, "v_conics": reals, "v_opacities": reals, "v_colors": reals,
            "first_index": int,
        },
        elements=True,
    )  # fmt: skip
    return adjoint, reduction


@once
def lifting(real, channels: int):
    """Kernel that sums maps of ``channels`` (at most MAX_CHANNELS) channels, and weights, for each intersection."""
    reals, ints = wp.array(dtype=real), wp.array(dtype=wp.int32)
    return kernel(
        "lift",
        f"semaflow_lift_{real.__name__}_{channels}",
        snippet(real, _LIFT, D=channels),
        {
            "width": int, "height": int, "starts": ints, "entries": ints, "records": ints, "maps": reals,
            "rows": reals, "tasks": int, "counter": ints,
        },
    )  # fmt: skip


@once
def color_reduction(real):
    """Kernel that sums columns of the rows of intersections per row of colours."""
    reals, ints = wp.array(dtype=real), wp.array(dtype=wp.int32)
    return kernel(
        "sum_colors",
        f"semaflow_color_reduction_{real.__name__}",
        snippet(real, _COLORS),
        {
            "rows": reals, "row_width": int, "column": int, "count": int, "rank": ints, "slots": ints,
            "colors_of": int, "v_colors_rows": int, "v_colors": reals, "channels": int, "channel": int,
            "accumulate": int, "first_index": int,
        },
        elements=True,
    )  # fmt: skip
