"""The Gaussians that weigh most in each pixel, on the CPU."""

import warp as wp

from ..native import kernel
from ..once import once
from .native import snippet

_STRONGEST = r"""
const Constants constants = Constants().hidden();
while (true) {
    const int index = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
    if (index >= tasks) return;
    Tile tile(index, width, height, constants);
    V least[GROUPS] = {};  // of the weights that a pixel keeps
    for (List list(records.data, entries.data, starts.data, index); list.more() && tile.live > 0;) {
        const Record& r = list.next();
        const Splat s(r, tile);
        const long long id = r.color;
        for (int h = 0; h < 2; h++)
            for (unsigned rows = s.rows[h]; rows; rows &= rows - 1) {
                const int row = __builtin_ctz(rows), g = 2 * row + h;
                V w;
                tile.step(g, s.alpha(h, row), w);
                for (unsigned lanes = Vec::bits(w > least[g]); lanes; lanes &= lanes - 1) {
                    const int j = __builtin_ctz(lanes);
                    R* best = weights.data + (tile.pixel(g) + j) * k;
                    long long* who = (long long*)ids.data + (tile.pixel(g) + j) * k;
                    int at = k;
                    for (; at > 0 && w[j] > best[at - 1]; at--)
                        if (at < k) best[at] = best[at - 1], who[at] = who[at - 1];
                    best[at] = w[j], who[at] = id;
                    least[g][j] = best[k - 1];
                }
            }
    }
}
"""


@once
def strongest_kernel(real):
    """Kernel that keeps the k strongest Gaussians of each pixel."""
    reals, ints = wp.array(dtype=real), wp.array(dtype=wp.int32)
    return kernel(
        "strongest",
        f"semaflow_strongest_{real.__name__}",
        snippet(real, _STRONGEST),
        {
            "width": int, "height": int, "k": int, "starts": ints, "entries": ints, "records": ints,
            "ids": wp.array(dtype=wp.int64), "weights": reals, "tasks": int, "counter": ints,
        },
    )  # fmt: skip
