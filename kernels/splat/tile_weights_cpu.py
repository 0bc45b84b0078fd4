"""How much each Gaussian weighs in each tile, on the CPU."""

import functools

import warp as wp

from .native import kernel, snippet

_TILE_WEIGHTS = r"""
while (true) {
    const int index = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
    if (index >= tasks) return;
    Tile tile(index, width, height);
    int e = starts.data[index];
    for (List list(records.data, entries.data, starts.data, index); list.more(); e++) {
        const Record& r = list.next();
        V total = {};
        if (tile.live > 0) {
            const Splat s(r, tile);
            for (int h = 0; h < 2; h++)
                for (unsigned rows = s.rows[h]; rows; rows &= rows - 1) {
                    const int row = __builtin_ctz(rows);
                    V w;
                    tile.step(2 * row + h, s.alpha(h, R(row) - s.y), w);
                    total += w;
                }
        }
        ids.data[e] = r.color;
        weights.data[e] = Vec::sum(total);
    }
}
"""


@functools.cache
def tile_weights_kernel(real):
    """Kernel that writes the Gaussian and the weight of each intersection, in the order of the tiles' lists."""
    reals, ints = wp.array(dtype=real), wp.array(dtype=wp.int32)
    return kernel(
        "tile_weights",
        f"semaflow_tile_weights_{real.__name__}",
        snippet(real, _TILE_WEIGHTS),
        {
            "width": int, "height": int, "starts": ints, "entries": ints, "records": ints,
            "ids": wp.array(dtype=wp.int64), "weights": reals, "tasks": int, "counter": ints,
        },
    )  # fmt: skip
