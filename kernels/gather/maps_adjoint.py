"""Adjoint of the lookup with respect to maps: features' gradients spread over the four cells around each pixel.

On CUDA by atomic adds. On the CPU points are first sorted by the row of cells they read, view by view; then a task
makes the gradient of a band of rows and adds to no other. A row takes from its points in the same order whatever the
bands and threads are: above it first, and those of a row in their own order.
"""

import warp as wp

from ..once import once
from .native import build

# One task is a view: starts [V, rows + 1] and order [V, count] list its points row by row. Unseen points are left out.
_SORT = r"""
int* start = starts.data + (long long)index * (rows + 1);
int* list = order.data + (long long)index * count;
for (int r = 0; r <= rows; r++) start[r] = 0;
auto each = [&](auto take) {
    for (int p = 0; p < count; p++) {
        const long long i = (long long)p * views + index;
        if (valid.data[i]) take(p, Pair(pixels.data[2 * i + 1], rows, height).first);
    }
};
each([&](int, int row) { start[row]++; });
int total = 0;
for (int r = 0; r <= rows; r++) {
    const int size = start[r];
    start[r] = total;
    total += size;
}
each([&](int p, int row) { list[start[row]++] = p; });
for (int r = rows; r > 0; r--) start[r] = start[r - 1];
start[0] = 0;
"""

# One task is ``band`` rows of the gradient of one view.
_BANDS = r"""
const int bands = (rows + band - 1) / band, view = index / bands, top = index % bands * band;
const int bottom = top + band < rows ? top + band : rows;
R* map = v_map.data + (long long)view * rows * columns * depth;
const long long stride = (long long)columns * depth;
for (long long k = top * stride; k < bottom * stride; k++) map[k] = R(0);
const int* start = starts.data + (long long)view * (rows + 1);
const int* list = order.data + (long long)view * count;
const int ahead = 4;
for (int r = top > 0 ? top - 1 : 0; r < bottom; r++)
    for (int k = start[r]; k < start[r + 1]; k++) {
        const long long next = (long long)list[k + ahead < start[rows] ? k + ahead : k] * views + view;
        __builtin_prefetch(v_features.data + next * channels + to);
        __builtin_prefetch(pixels.data + 2 * next);
        const long long i = (long long)list[k] * views + view;
        const Pair row(pixels.data[2 * i + 1], rows, height), column(pixels.data[2 * i], columns, width);
        const R* __restrict g = v_features.data + i * channels + to;
        auto add = [&](int y, R weight) {
            if (y < top || y >= bottom) return;
            const R w0 = weight * (R(1) - column.weight), w1 = weight * column.weight;
            R* __restrict m = map + (y * (long long)columns + column.first) * depth;
            for (int c = 0; c < depth; c++) m[c] += w0 * g[c];
            if (column.second == column.first) return;
            m += depth;
            for (int c = 0; c < depth; c++) m[c] += w1 * g[c];
        };
        add(row.first, R(1) - row.weight);
        if (row.second != row.first) add(row.second, row.weight);
    }
"""

_ATOMIC = r"""
for (int p = begin; p < end; p++) {
    const long long i = (long long)p * views + view;
    if (!valid.data[i]) continue;
    const Pair row(pixels.data[2 * i + 1], rows, height), column(pixels.data[2 * i], columns, width);
    const R* g = v_features.data + i * channels + to;
    auto add = [&](int y, int x, R weight) {
        R* m = v_map.data + (((long long)view * rows + y) * columns + x) * depth;
        for (int c = lane; c < depth; c += STEP) wp::atomic_add(m + c, weight * g[c]);
    };
    add(row.first, column.first, (R(1) - row.weight) * (R(1) - column.weight));
    add(row.first, column.second, (R(1) - row.weight) * column.weight);
    add(row.second, column.first, row.weight * (R(1) - column.weight));
    add(row.second, column.second, row.weight * column.weight);
}
"""


def _map(real) -> tuple[dict, dict]:
    """Arguments that say which features belong to the map, and what of them is known."""
    reals = wp.array(dtype=real)
    shape = dict.fromkeys(("views", "width", "height", "channels", "to", "rows", "columns", "depth"), int)
    return shape, {"pixels": reals, "valid": wp.array(dtype=wp.bool), "v_features": reals, "v_map": reals}


@once
def banded(real):
    """Kernels ``(sort, bands)`` for the CPU."""
    shape, known = _map(real)
    module = f"semaflow_gather_bands_{real.__name__}"
    ints = wp.array(dtype=wp.int32)
    lists = {"count": int, "starts": ints, "order": ints}
    return (
        build("sort", module, real, None, _SORT, shape | known | lists),
        build("bands", module, real, None, _BANDS, shape | known | lists | {"band": int}),
    )


@once
def atomic(real):
    """The kernel for CUDA devices, which adds to ``v_map``."""
    shape, known = _map(real)
    return build("spread", f"semaflow_gather_atomic_{real.__name__}", real, "R", _ATOMIC, shape | known)
