"""Compositing of more channels than :mod:`.tiles_cpu` takes, and its adjoints, on the CPU.

Where few channels are held as vectors of pixels for a whole tile, many would not fit the cache. So the weights come
first, for a batch of Gaussians, eight pixels at a time; then the batch is composited block of channels by block of
channels. The image goes by groups of pixels, with the group in registers; the adjoints go Gaussian by Gaussian, with
its gradient in registers. A last block of fewer than eight channels overlaps the one before it and is masked.
"""

import warp as wp

from ..native import kernel
from ..once import once
from .native import snippet

_BATCH = r"""
// The groups of pixels that a batch of Gaussians reaches, KEPT at most.
struct Batch {
    int size = 0, gaussians = 0;
    V weight[KEPT];
    unsigned char group[KEPT];
    int first[KEPT + 1];
    const Record* record[KEPT];
    inline bool full() const { return size > KEPT - GROUPS; }
    inline void clear() { size = gaussians = 0; }
    inline void open(const Record& r) { first[gaussians] = size; record[gaussians] = &r; }
    inline void add(int g, V w) {
        weight[size] = w;
        group[size] = (unsigned char)g;
        size += Vec::any(w);
    }
    // Whether the Gaussian that was opened reaches any pixel.
    inline bool close() {
        const bool any = size > first[gaussians];
        gaussians += any;
        first[gaussians] = size;
        return any;
    }
};
struct One { char x[1]; };
struct Two { char x[2]; };
// Calls block(width, first channel, mask) for blocks that cover channels 0..count-1; count >= LANES.
auto blocks = [](int count, auto block) {
    int c = 0;
    for (; c + 2 * LANES <= count; c += 2 * LANES) block(Two{}, c, Vec::all(1));
    for (; c + LANES <= count; c += LANES) block(One{}, c, Vec::all(1));
    if (c < count) block(One{}, count - LANES, Vec::iota() < R(LANES - (count - c)) ? V{} : Vec::all(1));
};
// Calls pixel(lane) for the pixels of group g that lie in the image.
auto pixels = [](const Tile& tile, int g, auto pixel) {
    const int n = tile.lanes(g);
    if (n == LANES) {
        #pragma unroll
        for (int j = 0; j < LANES; j++) pixel(j);
    } else
        for (int j = 0; j < n; j++) pixel(j);
};
"""

_FORWARD = r"""
// A batch in the order of the groups of pixels.
struct ByGroup {
    int start[GROUPS + 1];
    int entry[KEPT], gaussian[KEPT];
    inline void sort(const Batch& batch) {
        for (int g = 0; g <= GROUPS; g++) start[g] = 0;
        for (int i = 0; i < batch.size; i++) start[batch.group[i] + 1]++;
        int at[GROUPS];
        for (int g = 0; g < GROUPS; g++) at[g] = start[g], start[g + 1] += start[g];
        for (int b = 0; b < batch.gaussians; b++)
            for (int i = batch.first[b]; i < batch.first[b + 1]; i++) {
                const int to = at[batch.group[i]]++;
                entry[to] = i;
                gaussian[to] = b;
            }
    }
};
const Constants constants = Constants().hidden();
Batch batch;
ByGroup order;
while (true) {
    const int index = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
    if (index >= tasks) return;
    Tile tile(index, width, height, constants);
    for (int g = 0; g < GROUPS; g++)
        if (const int n = tile.lanes(g))
            __builtin_memset(out.data + tile.pixel(g) * channels, 0, sizeof(R) * channels * n);
    auto composite = [&]() {
        order.sort(batch);
        const R* from[KEPT];
        for (int b = 0; b < batch.gaussians; b++) from[b] = colors.data + (long long)batch.record[b]->color * channels;
        blocks(channels, [&](auto width, int c, V mask) {
            constexpr int NV = sizeof(width);
            for (int g = 0; g < GROUPS; g++) {
                if (order.start[g] == order.start[g + 1]) continue;
                V sum[LANES][NV] = {};
                for (int i = order.start[g]; i < order.start[g + 1]; i++) {
                    const R* f = from[order.gaussian[i]] + c;
                    const R* w = (const R*)(batch.weight + order.entry[i]);
                    V x[NV];
                    #pragma unroll
                    for (int v = 0; v < NV; v++) x[v] = Vec::load(f + v * LANES);
                    #pragma unroll
                    for (int j = 0; j < LANES; j++)
                        #pragma unroll
                        for (int v = 0; v < NV; v++) sum[j][v] += w[j] * x[v];
                }
                R* to = out.data + tile.pixel(g) * channels + c;
                #pragma unroll
                for (int j = 0; j < LANES; j++)
                    if (j < tile.lanes(g))
                        for (int v = 0; v < NV; v++) {
                            R* p = to + (long long)j * channels + v * LANES;
                            Vec::store(p, Vec::load(p) + mask * sum[j][v]);
                        }
            }
        });
        batch.clear();
    };
    batch.clear();
    for (List list(records.data, entries.data, starts.data, index); list.more() && tile.live > 0;) {
        const Record& r = list.next();
        const Splat s(r, tile);
        batch.open(r);
        for (int h = 0; h < 2; h++)
            for (unsigned rows = s.rows[h]; rows; rows &= rows - 1) {
                const int row = __builtin_ctz(rows), g = 2 * row + h;
                V w;
                tile.step(g, s.alpha(h, row), w);
                batch.add(g, w);
            }
        batch.close();
        if (batch.full()) composite();
    }
    composite();
    for (int g = 0; g < GROUPS; g++)
        for (int j = 0; j < tile.lanes(g); j++) {
            const long long pixel = tile.pixel(g) + j;
            const R T = tile.T[g][j] < R(0) ? -tile.T[g][j] : tile.T[g][j];
            transmittance.data[pixel] = T;
            alphas.data[pixel] = R(1) - T;
            if (backgrounds.shape[0] > 0)
                for (int d = 0; d < channels; d++)
                    out.data[pixel * channels + d] += T * backgrounds.data[tile.camera * channels + d];
        }
}
"""

# Rows as in tiles_cpu, with the colours of channels 0..count-1; count is a multiple of 32, or all of them.
_ADJOINT = r"""
constexpr int GEOMETRY = 6 + 2 * ABS;
const int row_width = GEOMETRY + count;
const Constants constants = Constants().hidden();
Batch batch;
V before[KEPT], alphas[KEPT], slopes[KEPT], dots[KEPT], v[GROUPS][LANES];
while (true) {
    const int index = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
    if (index >= tasks) return;
    Tile tile(index, width, height, constants);
    V rest[GROUPS] = {};
    for (int g = 0; g < GROUPS; g++)
        pixels(tile, g, [&](int j) {
            const long long pixel = tile.pixel(g) + j;
            const R *a = out.data + pixel * channels, *b = v_out.data + pixel * channels;
            V sum = {};
            blocks(channels, [&](auto width, int c, V mask) {
                for (int v = 0; v < (int)sizeof(width); v++)
                    sum += mask * Vec::load(a + c + v * LANES) * Vec::load(b + c + v * LANES);
            });
            rest[g][j] = Vec::sum(sum);
            if (v_alphas.shape[0] > 0) rest[g][j] -= transmittance.data[pixel] * v_alphas.data[pixel];
        });
    // Pixels without weight do not count. Where gradients are no numbers, that has to be seen to.
    bool sound = true;
    for (int g = 0; g < GROUPS; g++) sound &= Vec::bits(rest[g] * R(0) != V{}) == 0;
    auto row_of = [&](const Record& r) { return rows.data + Intersection::of(r, tile) * row_width; };
    auto finish = [&]() {
        for (int i = 0; i < batch.size; i++) dots[i] = V{};
        for (int next = 0; next < channels; next += LANES) {
            const int c = next + LANES <= channels ? next : channels - LANES;
            for (int g = 0; g < GROUPS; g++) {
                V x[LANES] = {};
                pixels(tile, g, [&](int j) { x[j] = Vec::load(v_out.data + (tile.pixel(g) + j) * channels + c); });
                Vec::transpose(x);
                for (int d = 0; d < LANES; d++) v[g][d] = x[d];
            }
            for (int b = 0; b < batch.gaussians; b++) {
                const Record& r = *batch.record[b];
                R f[LANES];
                for (int d = 0; d < LANES; d++) f[d] = colors.data[(long long)r.color * channels + c + d];
                for (int d = 0; d < next - c; d++) f[d] = R(0);
                V v_f[LANES] = {};
                for (int i = batch.first[b]; sound && i < batch.first[b + 1]; i++) {
                    const V* x = v[batch.group[i]];
                    V dot = dots[i];
                    #pragma unroll
                    for (int d = 0; d < LANES; d++) {
                        dot += f[d] * x[d];
                        v_f[d] += batch.weight[i] * x[d];
                    }
                    dots[i] = dot;
                }
                for (int i = batch.first[b]; !sound && i < batch.first[b + 1]; i++)
                    for (int d = 0; d < LANES; d++) {
                        const V x = v[batch.group[i]][d];
                        dots[i] += f[d] * x;
                        v_f[d] += batch.weight[i] * Vec::keep(batch.weight[i] > V{}, x);
                    }
                if (next < count) Vec::store(row_of(r) + GEOMETRY + c, Vec::sums(v_f));
            }
        }
        for (int b = 0; b < batch.gaussians; b++) {
            const Record& r = *batch.record[b];
            const R x = r.x - R(tile.tx * TILE) - R(0.5), y = r.y - R(tile.ty * TILE) - R(0.5);
            V sum[GEOMETRY] = {};
            for (int i = batch.first[b]; i < batch.first[b + 1]; i++) {
                const int g = batch.group[i];
                const R dy = R(g / 2) - y;
                const V dx = Vec::iota() + (R(g % 2 * LANES) - x);
                const auto counts = batch.weight[i] > V{};
                const V left = rest[g] - Vec::keep(counts, batch.weight[i] * dots[i]);
                rest[g] = left;
                const V slope = before[i] * dots[i] - left / (R(1) - alphas[i]);
                const V q = Vec::keep(counts, slopes[i] * slope);
                const V qx = q * dx, qy = q * dy;
                sum[0] += q;
                sum[1] += qx;
                sum[2] += qy;
                sum[3] += qx * dx;
                sum[4] += qx * dy;
                sum[5] += qy * dy;
                if constexpr (ABS) {
                    const V gx = r.A * qx + r.B * qy, gy = r.B * qx + r.C * qy;
                    sum[6] += __builtin_elementwise_max(gx, -gx);
                    sum[7] += __builtin_elementwise_max(gy, -gy);
                }
            }
            Vec::sums(sum, GEOMETRY, row_of(r));
        }
        batch.clear();
    };
    batch.clear();
    for (List list(records.data, entries.data, starts.data, index); list.more();) {
        const Record& r = list.next();
        batch.open(r);
        if (tile.live > 0) {
            const Splat s(r, tile);
            for (int h = 0; h < 2; h++)
                for (unsigned rows = s.rows[h]; rows; rows &= rows - 1) {
                    const int row = __builtin_ctz(rows), g = 2 * row + h, i = batch.size;
                    const V raw = s.alpha(h, row);
                    before[i] = tile.T[g];
                    V w;
                    alphas[i] = tile.step(g, raw, w);
                    slopes[i] = Vec::keep(raw <= constants.alpha_max, alphas[i]);
                    batch.add(g, w);
                }
        }
        if (!batch.close()) __builtin_memset(row_of(r), 0, sizeof(R) * row_width);
        if (batch.full()) finish();
    }
    finish();
}
"""

# The adjoint with respect to colours, for channels first..first+count-1; count >= LANES. One row per intersection.
_COLORS = r"""
const Constants constants = Constants().hidden();
Batch batch;
while (true) {
    const int index = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
    if (index >= tasks) return;
    Tile tile(index, width, height, constants);
    auto finish = [&]() {
        blocks(count, [&](auto width, int c, V) {
            constexpr int NV = sizeof(width);
            for (int b = 0; b < batch.gaussians; b++) {
                V sum[NV] = {};
                for (int i = batch.first[b]; i < batch.first[b + 1]; i++) {
                    const R* at = maps.data + tile.pixel(batch.group[i]) * channels + first + c;
                    // Pixels without weight are not looked at: they may hold no numbers.
                    pixels(tile, batch.group[i], [&](int j) {
                        const R w = batch.weight[i][j];
                        if (w == R(0)) return;
                        for (int v = 0; v < NV; v++) sum[v] += w * Vec::load(at + (long long)j * channels + v * LANES);
                    });
                }
                R* to = rows.data + Intersection::of(*batch.record[b], tile) * count + c;
                for (int v = 0; v < NV; v++) Vec::store(to + v * LANES, sum[v]);
            }
        });
        batch.clear();
    };
    batch.clear();
    for (List list(records.data, entries.data, starts.data, index); list.more();) {
        const Record& r = list.next();
        V total = {};
        batch.open(r);
        if (tile.live > 0) {
            const Splat s(r, tile);
            for (int h = 0; h < 2; h++)
                for (unsigned rows = s.rows[h]; rows; rows &= rows - 1) {
                    const int row = __builtin_ctz(rows), g = 2 * row + h;
                    V w;
                    tile.step(g, s.alpha(h, row), w);
                    total += w;
                    batch.add(g, w);
                }
        }
        if (!batch.close()) __builtin_memset(rows.data + Intersection::of(r, tile) * count, 0, sizeof(R) * count);
        if (totals.shape[0] > 0) totals.data[Intersection::of(r, tile)] = Vec::sum(total);
        if (batch.full()) finish();
    }
    finish();
}
"""


@once
def channel_kernels(real, absolute: bool = False):
    """Kernels ``(composite, adjoint, colors)``: the image; all its gradients, and those of the colours alone, a row per
    intersection."""
    reals, ints = wp.array(dtype=real), wp.array(dtype=wp.int32)
    module = f"semaflow_channels_{real.__name__}_{absolute:d}"
    scene = {
        "width": int,
        "height": int,
        "channels": int,
        "starts": ints,
        "entries": ints,
        "records": ints,
    }
    image = {"colors": reals, "backgrounds": reals, "out": reals, "alphas": reals, "transmittance": reals}
    known = {"colors": reals, "out": reals, "transmittance": reals, "v_out": reals, "v_alphas": reals}
    tasks = {"tasks": int, "counter": ints}

    def made(name, source, kept, arguments):
        return kernel(name, module, snippet(real, _BATCH + source, KEPT=kept, ABS=absolute), arguments)

    return (
        made("composite", _FORWARD, 1024, scene | image | tasks),
        made("adjoint", _ADJOINT, 512, scene | {"count": int} | known | {"rows": reals} | tasks),
        made(
            "colors",
            _COLORS,
            256,
            scene | {"first": int, "count": int, "maps": reals, "rows": reals, "totals": reals} | tasks,
        ),
    )
