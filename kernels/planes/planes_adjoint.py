"""Adjoint with respect to planes, on the CPU: the gradients on each plane spread over the cells around the places.

A task makes the gradient of one plane and adds to no other. It goes through the points in their order, so that each cell
takes from its points in one order on any number of threads.
"""

import warp as wp

from ..once import once
from .native import build

# ``rows`` are those of the lookup's adjoint.
_SPREAD = r"""
@CHANNELS@
const int k = index % PLANES;
const Level level(table.data + index / PLANES * FIELDS);
if (!level.gradients[k]) return;
const int columns_along = Axis::first(k), rows_along = Axis::second(k), rows_of_plane = level.rows(k);
const int channels = level.channels;
const long long stride = (long long)level.n * channels;
const R* v = rows.data + (long long)count * (PLANES * level.to + k * channels);
constexpr int AHEAD = 32;  // points whose cells are asked for before any is added to
struct Place { R* cell; int right; bool down; R wx, wy; } found[AHEAD];
for (int first = 0; first < count; first += AHEAD) {
    const int some = count - first < AHEAD ? count - first : AHEAD;
    const R* x = places.data + (long long)first * DIMS;
    for (int i = 0; i < some; i++, x += DIMS) {
        const Cells row(x[rows_along], rows_of_plane), column(x[columns_along], level.n);
        R* const cell = level.gradients[k] + row.first * stride + column.first * channels;
        const int right = (column.second - column.first) * channels;
        found[i] = {cell, right, row.second > row.first, column.weight, row.weight};
        __builtin_prefetch(cell, 1);
        __builtin_prefetch(cell + stride, 1);
    }
    for (int i = 0; i < some; i++, v += channels) {
        const Place at = found[i];
        each_channel(channels, [&](auto kind, int c) {
            typedef decltype(kind) K;
            auto add = [&](R* to, auto value) {
                K::store(to, K::load(to) + (value - at.wx * value));
                if (at.right) K::store(to + at.right, K::load(to + at.right) + at.wx * value);
            };
            const auto lower = at.wy * K::load(v + c), upper = K::load(v + c) - lower;
            add(at.cell + c, upper);
            if (at.down) add(at.cell + stride + c, lower);
        });
    }
}
"""


@once
def spread_kernel(real, dims: int):
    """The kernel for the CPU, which adds to the planes' gradients; its elements are planes of levels."""
    reals = wp.array(dtype=real)
    arguments = {"count": int, "table": wp.array(dtype=wp.int64), "places": reals, "rows": reals}
    return build("spread", real, dims, False, _SPREAD, arguments)
