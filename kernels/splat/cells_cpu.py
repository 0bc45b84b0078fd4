"""How much each Gaussian weighs in the cells of a tile, on the CPU."""

import warp as wp

from ..native import kernel
from ..once import once
from .native import snippet

_CELLS = r"""
const Constants constants = Constants().hidden();
while (true) {
    const int index = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
    if (index >= tasks) return;
    Tile tile(index, width, height, constants);
    int e = starts.data[index];
    for (List list(records.data, entries.data, starts.data, index); list.more(); e++) {
        const Record& r = list.next();
        V total[4] = {};  // groups are as wide as cells
        if (tile.live > 0) {
            const Splat s(r, tile);
            for (int h = 0; h < 2; h++)
                for (unsigned rows = s.rows[h]; rows; rows &= rows - 1) {
                    const int row = __builtin_ctz(rows);
                    V w;
                    tile.step(2 * row + h, s.alpha(h, row), w);
                    total[row / LANES * 2 + h] += w;
                }
        }
        ids.data[e] = r.color;
        for (int i = 0; i < 4; i++) sums.data[4LL * e + i] = Vec::sum(total[i]);
    }
}
"""


@once
def cells_kernel(real):
    """Kernel that writes the Gaussian of each intersection and its weights summed over the tile's cells, in the order of
    the tiles' lists."""
    reals, ints = wp.array(dtype=real), wp.array(dtype=wp.int32)
    return kernel(
        "cells",
        f"semaflow_cells_{real.__name__}",
        snippet(real, _CELLS),
        {
            "width": int, "height": int, "starts": ints, "entries": ints, "records": ints,
            "ids": wp.array(dtype=wp.int64), "sums": reals, "tasks": int, "counter": ints,
        },
    )  # fmt: skip
