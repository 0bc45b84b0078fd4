"""Compositing of any number of channels from nine on, and its adjoints, on the CPU.

Where :mod:`.tiles_cpu` holds a tile's image in vectors of pixels, many channels are better taken as vectors of channels.
So weights come first, for a batch of Gaussians, eight pixels at a time; then the batch is composited pixel by pixel
in blocks of 32 channels, with the Gaussian's colours in registers. A last block of fewer than eight channels overlaps the
one before it and is masked.
"""

import functools

import warp as wp

from .native import kernel, snippet

_BATCH = r"""
// The groups of pixels that a batch of Gaussians reaches.
constexpr int GROUPS_KEPT = 256;
struct Batch {
    int size = 0, gaussians = 0;
    V weight[GROUPS_KEPT];
    unsigned char group[GROUPS_KEPT], lanes[GROUPS_KEPT];
    int first[GROUPS_KEPT + 1], number[GROUPS_KEPT];
    inline bool full() const { return size > GROUPS_KEPT - GROUPS; }
    inline void clear() { size = gaussians = 0; }
    inline void open(int k) { first[gaussians] = size; number[gaussians] = k; }
    inline void close() { if (size > first[gaussians]) gaussians++; first[gaussians] = size; }
    inline void add(int g, unsigned mask, V w) {
        weight[size] = w;
        group[size] = (unsigned char)g;
        lanes[size] = (unsigned char)mask;
        size += mask != 0;
    }
};
struct One { char x[1]; };
struct Four { char x[4]; };
// Calls block(width, first channel, mask) for blocks that cover channels 0..count-1; count >= LANES.
auto blocks = [](int count, auto block) {
    int c = 0;
    for (; c + 4 * LANES <= count; c += 4 * LANES) block(Four{}, c, Vec::all(1));
    for (; c + LANES <= count; c += LANES) block(One{}, c, Vec::all(1));
    if (c < count) block(One{}, count - LANES, Vec::iota() < R(LANES - (count - c)) ? V{} : Vec::all(1));
};
"""

_FORWARD = r"""
while (true) {
    const int index = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
    if (index >= tasks) return;
    Tile tile(index, width, height);
    for (int g = 0; g < GROUPS; g++)
        if (tile.lanes(g)) __builtin_memset(out.data + tile.pixel(g) * channels, 0, sizeof(R) * channels * tile.lanes(g));
    Batch batch;
    auto composite = [&](auto width, int c, V mask) {
        constexpr int NV = sizeof(width);
        for (int b = 0; b < batch.gaussians; b++) {
            const R* from = colors.data + (long long)place.data[batch.number[b] * PLACE + 5] * channels + c;
            V f[NV];
            for (int v = 0; v < NV; v++) f[v] = mask * Vec::load(from + v * LANES);
            for (int i = batch.first[b]; i < batch.first[b + 1]; i++) {
                R* to = out.data + tile.pixel(batch.group[i]) * channels + c;
                for (unsigned lanes = batch.lanes[i]; lanes; lanes &= lanes - 1) {
                    const int j = __builtin_ctz(lanes);
                    const R w = batch.weight[i][j];
                    R* pixel = to + (long long)j * channels;
                    for (int v = 0; v < NV; v++) Vec::store(pixel + v * LANES, Vec::load(pixel + v * LANES) + w * f[v]);
                }
            }
        }
    };
    for (int e = starts.data[index]; e < starts.data[index + 1] && tile.live > 0; e++) {
        const int k = list.data[e];
        const Splat s(record.data + (long long)k * RECORD, tile);
        batch.open(k);
        for (int h = 0; h < 2; h++)
            for (unsigned rows = s.rows[h]; rows; rows &= rows - 1) {
                const int row = __builtin_ctz(rows), g = 2 * row + h;
                V w;
                const unsigned lanes = tile.step(g, s.alpha(h, R(row) - s.y), w);
                batch.add(g, lanes, w);
            }
        batch.close();
        if (batch.full()) {
            blocks(channels, composite);
            batch.clear();
        }
    }
    blocks(channels, composite);
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

# The rows are those of tiles_cpu without colours.
_GEOMETRY = r"""
constexpr int WIDTH = 6 + 2 * ABS;
while (true) {
    const int index = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
    if (index >= tasks) return;
    Tile tile(index, width, height);
    V rest[GROUPS] = {};
    for (int g = 0; g < GROUPS; g++)
        for (int j = 0; j < tile.lanes(g); j++) {
            const long long pixel = tile.pixel(g) + j;
            const R *a = out.data + pixel * channels, *b = v_out.data + pixel * channels;
            V sum = {};
            blocks(channels, [&](auto width, int c, V mask) {
                for (int v = 0; v < (int)sizeof(width); v++)
                    sum += mask * Vec::load(a + c + v * LANES) * Vec::load(b + c + v * LANES);
            });
            rest[g][j] = Vec::sum(sum);
            if (v_alphas.shape[0] > 0) rest[g][j] -= transmittance.data[pixel] * v_alphas.data[pixel];
        }
    Batch batch;
    V before[GROUPS_KEPT], alphas[GROUPS_KEPT], slopes[GROUPS_KEPT], dots[GROUPS_KEPT];
    auto project = [&](auto width, int c, V mask) {
        constexpr int NV = sizeof(width);
        for (int b = 0; b < batch.gaussians; b++) {
            const R* from = colors.data + (long long)place.data[batch.number[b] * PLACE + 5] * channels + c;
            V f[NV];
            for (int v = 0; v < NV; v++) f[v] = mask * Vec::load(from + v * LANES);
            for (int i = batch.first[b]; i < batch.first[b + 1]; i++) {
                const R* at = v_out.data + tile.pixel(batch.group[i]) * channels + c;
                for (unsigned lanes = batch.lanes[i]; lanes; lanes &= lanes - 1) {
                    const int j = __builtin_ctz(lanes);
                    const R* pixel = at + (long long)j * channels;
                    V sum = f[0] * Vec::load(pixel);
                    for (int v = 1; v < NV; v++) sum += f[v] * Vec::load(pixel + v * LANES);
                    dots[i][j] += Vec::sum(sum);
                }
            }
        }
    };
    auto row_of = [&](int k) {
        const int* p = place.data + (long long)k * PLACE;
        return rows.data + (p[3] + (long long)(tile.ty - p[1]) * p[2] + tile.tx - p[0]) * WIDTH;
    };
    auto finish = [&]() {
        for (int i = 0; i < batch.size; i++) dots[i] = V{};
        blocks(channels, project);
        for (int b = 0; b < batch.gaussians; b++) {
            const R* r = record.data + (long long)batch.number[b] * RECORD;
            const R x = r[0] - R(tile.tx * TILE) - R(0.5), y = r[1] - R(tile.ty * TILE) - R(0.5);
            V sum[8] = {};
            for (int i = batch.first[b]; i < batch.first[b + 1]; i++) {
                const int g = batch.group[i];
                const R dy = R(g / 2) - y;
                const V dx = Vec::iota() + (R(g % 2 * LANES) - x);
                const V left = rest[g] - batch.weight[i] * dots[i];
                rest[g] = left;
                const V q = slopes[i] * (before[i] * dots[i] - left / (R(1) - alphas[i]));
                const V qx = q * dx, qy = q * dy;
                sum[0] += q;
                sum[1] += qx;
                sum[2] += qy;
                sum[3] += qx * dx;
                sum[4] += qx * dy;
                sum[5] += qy * dy;
                if constexpr (ABS) {
                    const V gx = r[2] * qx + r[3] * qy, gy = r[3] * qx + r[4] * qy;
                    sum[6] += __builtin_elementwise_max(gx, -gx);
                    sum[7] += __builtin_elementwise_max(gy, -gy);
                }
            }
            const V total = Vec::sums(sum);
            R* to = row_of(batch.number[b]);
            for (int i = 0; i < WIDTH; i++) to[i] = total[i];
        }
        batch.clear();
    };
    for (int e = starts.data[index]; e < starts.data[index + 1]; e++) {
        const int k = list.data[e];
        R* row_out = row_of(k);
        for (int i = 0; i < WIDTH; i++) row_out[i] = R(0);
        if (tile.live == 0) continue;
        const Splat s(record.data + (long long)k * RECORD, tile);
        batch.open(k);
        for (int h = 0; h < 2; h++)
            for (unsigned rows = s.rows[h]; rows; rows &= rows - 1) {
                const int row = __builtin_ctz(rows), g = 2 * row + h, i = batch.size;
                const V raw = s.alpha(h, R(row) - s.y);
                before[i] = tile.T[g];
                V w;
                const unsigned lanes = tile.step(g, raw, w);
                alphas[i] = __builtin_elementwise_min(raw, Vec::all(ALPHA_MAX));
                slopes[i] = Vec::keep((w > R(0)) & (raw <= ALPHA_MAX), raw);
                batch.add(g, lanes, w);
            }
        batch.close();
        if (batch.full()) finish();
    }
    finish();
}
"""

# The adjoint with respect to colours, for channels first..first+count-1; count >= LANES. One row per intersection.
_COLORS = r"""
while (true) {
    const int index = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
    if (index >= tasks) return;
    Tile tile(index, width, height);
    Batch batch;
    for (int e = starts.data[index]; e < starts.data[index + 1]; e++) {
        const int k = list.data[e];
        const int* p = place.data + (long long)k * PLACE;
        const long long intersection = p[3] + (long long)(tile.ty - p[1]) * p[2] + tile.tx - p[0];
        R* row_out = rows.data + intersection * count;
        V total = {};
        batch.clear();
        if (tile.live > 0) {
            const Splat s(record.data + (long long)k * RECORD, tile);
            for (int h = 0; h < 2; h++)
                for (unsigned rows = s.rows[h]; rows; rows &= rows - 1) {
                    const int row = __builtin_ctz(rows), g = 2 * row + h;
                    V w;
                    const unsigned lanes = tile.step(g, s.alpha(h, R(row) - s.y), w);
                    total += w;
                    batch.add(g, lanes, w);
                }
        }
        if (totals.shape[0] > 0) totals.data[intersection] = Vec::sum(total);
        blocks(count, [&](auto width, int c, V) {
            constexpr int NV = sizeof(width);
            V sum[NV] = {};
            for (int i = 0; i < batch.size; i++) {
                const R* at = v_out.data + tile.pixel(batch.group[i]) * channels + first + c;
                for (unsigned lanes = batch.lanes[i]; lanes; lanes &= lanes - 1) {
                    const int j = __builtin_ctz(lanes);
                    const R w = batch.weight[i][j];
                    const R* pixel = at + (long long)j * channels;
                    for (int v = 0; v < NV; v++) sum[v] += w * Vec::load(pixel + v * LANES);
                }
            }
            for (int v = 0; v < NV; v++) Vec::store(row_out + c + v * LANES, sum[v]);
        });
    }
}
"""


@functools.cache
def channel_kernels(real, absolute: bool = False):
    """Kernels ``(composite, geometry, colors)``: the image, and the adjoints that write a row per intersection."""
    reals, ints = wp.array(dtype=real), wp.array(dtype=wp.int32)
    module = f"semaflow_channels_{real.__name__}_{absolute:d}"
    scene = {
        "width": int,
        "height": int,
        "channels": int,
        "starts": ints,
        "list": ints,
        "record": reals,
        "place": ints,
    }
    tasks = {"tasks": int, "counter": ints}
    outputs = {"backgrounds": reals, "out": reals, "alphas": reals, "transmittance": reals}
    known = {"out": reals, "transmittance": reals, "v_out": reals, "v_alphas": reals, "rows": reals}
    part = {"first": int, "count": int, "v_out": reals, "rows": reals, "totals": reals}
    colors = {"colors": reals}
    return (
        kernel("composite", module, snippet(real, _BATCH + _FORWARD), scene | colors | outputs | tasks),
        kernel(
            "geometry", module, snippet(real, _BATCH + _GEOMETRY, ABS=absolute), scene | colors | known | tasks
        ),
        kernel("colors", module, snippet(real, _BATCH + _COLORS), scene | part | tasks),
    )
