"""Who is drawn where: Gaussians sorted by depth and listed per tile, on the CPU.

Two passes instead of one sort of all intersections: sort the Gaussians by depth once, then deal them to their tiles in
that order, which leaves every tile's list sorted.
"""

import warp as wp

from ..native import kernel
from ..once import once
from .native import RECORD

_ORDER = r"""
typedef KEY Key;
constexpr int BITS = 11, SIZE = 1 << BITS;
int seen = 0, drawn = 0;
const int total = boxes.shape[0];
const int* radius = (const int*)radii.data;
const int* box = (const int*)boxes.data;
Key* key = (Key*)keys.data;
Key* key_next = key + total;
int* at = order.data;
int* at_next = at + total;
const int tiles = tiles_x * tiles_y;
for (int t = 0; t < starts.shape[0]; t++) starts.data[t] = 0;
int* heads = starts.data + 1;
for (int i = 0; i < total; i++) {
    const bool visible = radius[2 * i] > 0;
    slots.data[i] = visible ? (packed ? seen : i) : -1;
    seen += visible;
    const int* b = box + 4 * i;
    if (b[2] <= b[0]) continue;
    Key bits;
    __builtin_memcpy(&bits, depths.data + i, sizeof(Key));
    const Key sign = Key(1) << (8 * sizeof(Key) - 1);
    key[drawn] = bits & sign ? ~bits : bits | sign;
    at[drawn++] = i;
    int* head = heads + i / gaussians * tiles;
    for (int y = b[1]; y < b[3]; y++)
        for (int x = b[0]; x < b[2]; x++) head[y * tiles_x + x]++;
}
for (int t = 1; t < starts.shape[0]; t++) starts.data[t] += starts.data[t - 1];

for (int shift = 0; shift < 8 * (int)sizeof(Key); shift += BITS) {
    int where[SIZE] = {};
    for (int k = 0; k < drawn; k++) where[(key[k] >> shift) & (SIZE - 1)]++;
    if (drawn == 0 || where[(key[0] >> shift) & (SIZE - 1)] == drawn) continue;
    for (int d = 0, sum = 0; d < SIZE; d++) { const int n = where[d]; where[d] = sum; sum += n; }
    for (int k = 0; k < drawn; k++) {
        const int to = where[(key[k] >> shift) & (SIZE - 1)]++;
        key_next[to] = key[k];
        at_next[to] = at[k];
    }
    Key* t = key; key = key_next; key_next = t;
    int* u = at; at = at_next; at_next = u;
}
if (at != order.data)
    for (int k = 0; k < drawn; k++) order.data[k] = at[k];
long long first = 0;
for (int k = 0; k < drawn; k++) {
    const int* b = box + 4 * order.data[k];
    __builtin_prefetch(box + 4 * order.data[k + 8 < drawn ? k + 8 : k]);
    firsts.data[k] = (int)first;
    first += (long long)(b[2] - b[0]) * (b[3] - b[1]);
}
counts.data[0] = seen;
counts.data[1] = drawn;
counts.data[2] = first;
"""

# Task 0 deals the Gaussians to the tiles; the others write records, and move visible splats together where packed.
_ARRANGE = r"""
while (true) {
    const int task = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
    if (task >= tasks) return;
    const int* box = (const int*)boxes.data;
    if (task == 0) {
        const int tiles = tiles_x * tiles_y;
        for (int t = 0; t < cursor.shape[0]; t++) cursor.data[t] = starts.data[t];
        for (int k = 0; k < drawn; k++) {
            const int i = order.data[k];
            const int* b = box + 4 * i;
            __builtin_prefetch(box + 4 * order.data[k + 8 < drawn ? k + 8 : k]);
            int* head = cursor.data + i / gaussians * tiles;
            for (int y = b[1]; y < b[3]; y++)
                for (int x = b[0]; x < b[2]; x++) list.data[head[y * tiles_x + x]++] = k;
        }
        continue;
    }
    const R* xy = means2d.data;
    const R* conic = conics.data;
    const int first = (task - 1) * block;
    const int last_drawn = first + block < drawn ? first + block : drawn;
    for (int k = first; k < last_drawn; k++) {
        const int i = order.data[k], soon = order.data[k + 8 < last_drawn ? k + 8 : k];
        __builtin_prefetch(box + 4 * soon);
        __builtin_prefetch(xy + 2 * soon);
        __builtin_prefetch(conic + 3 * soon);
        __builtin_prefetch(alphas.data + soon);
        const int* b = box + 4 * i;
        const R o = alphas.data[i];
        const R lg = ::log(o);
        const int slot = slots.data[i], color = colors_of == 0 ? slot : (colors_of == 1 ? i % gaussians : i);
        ((Record*)records.data)[k] = Record{
            xy[2 * i], xy[2 * i + 1], conic[3 * i], conic[3 * i + 1], conic[3 * i + 2], o, R(1.4426950408889634) * lg,
            R(2) * (lg + R(5.541263545158426)), b[0], b[1], b[2] - b[0], firsts.data[k], slot, color};
        rank.data[2 * slot] = firsts.data[k];
        rank.data[2 * slot + 1] = (b[2] - b[0]) * (b[3] - b[1]);
    }
    const int total = boxes.shape[0], last = first + block < total ? first + block : total;
    for (int i = first; i < last; i++) {
        const int to = packed ? slots.data[i] : i;
        if (to < 0) continue;
        if (box[4 * i + 2] <= box[4 * i]) rank.data[2 * to] = rank.data[2 * to + 1] = 0;
        if (packed) ids.data[to] = i;
        if (kept_alphas.shape[0] == 0) continue;
        for (int j = 0; j < 2; j++) kept_means2d.data[2 * to + j] = xy[2 * i + j];
        for (int j = 0; j < 2; j++) kept_radii.data[2 * to + j] = radii.data[2 * i + j];
        for (int j = 0; j < 3; j++) kept_conics.data[3 * to + j] = conic[3 * i + j];
        kept_depths.data[to] = depths.data[i];
        kept_alphas.data[to] = alphas.data[i];
        if (colors.shape[0] > 0)
            for (int j = 0; j < 3; j++) kept_colors.data[3 * to + j] = colors.data[3 * i + j];
    }
}
"""


@once
def ordering(real):
    """Kernels ``(order, arrange)`` for scalar type ``real``."""
    single = real is wp.float32
    head = "typedef float R;\n" if single else "typedef double R;\n"
    ints, reals, boxes = wp.array(dtype=wp.int32), wp.array(dtype=real), wp.array(dtype=wp.vec4i)
    longs = wp.array(dtype=wp.int64)
    module = f"semaflow_order_{real.__name__}"
    order = kernel(
        "order",
        module,
        head + _ORDER.replace("KEY", "unsigned int" if single else "unsigned long long"),
        {
            "depths": reals,
            "radii": wp.array(dtype=wp.vec2i),
            "boxes": boxes,
            "gaussians": int,
            "tiles_x": int,
            "tiles_y": int,
            "packed": int,
            "keys": longs,
            "order": ints,
            "firsts": ints,
            "slots": ints,
            "starts": ints,
            "counts": longs,
        },
    )
    arrange = kernel(
        "arrange",
        module,
        head + RECORD + _ARRANGE,
        {
            "means2d": reals,
            "depths": reals,
            "conics": reals,
            "alphas": reals,
            "radii": ints,
            "colors": reals,
            "kept_means2d": reals,
            "kept_depths": reals,
            "kept_conics": reals,
            "kept_alphas": reals,
            "kept_radii": ints,
            "kept_colors": reals,
            "ids": longs,
            "packed": int,
            "boxes": boxes,
            "gaussians": int,
            "tiles_x": int,
            "tiles_y": int,
            "colors_of": int,
            "drawn": int,
            "block": int,
            "order": ints,
            "firsts": ints,
            "slots": ints,
            "starts": ints,
            "cursor": ints,
            "records": ints,
            "rank": ints,
            "list": ints,
            "tasks": int,
            "counter": ints,
        },
    )
    return order, arrange
