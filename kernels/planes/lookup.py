"""Kernels that look places up on all planes of all levels, and multiply what they find.

With b_k the bilinear value on plane k, between cells m00, m01 of a row and m10, m11 of the next, and wx, wy the weights of
the second column and row: ``b = (1-wy) ((1-wx) m00 + wx m01) + wy ((1-wx) m10 + wx m11)``, ``f = prod_k b_k``. Adjoint:
``v_b_k = v_f prod_{j<k} b_j prod_{j>k} b_j``, without a division, so that a zero is no exception; of a coordinate it is
the sum over the planes that have its axis, ``wx' sum_c v_b_k ((1-wy)(m01-m00) + wy (m11-m10))``, along rows likewise.
"""

import warp as wp

from ..cells import DEALT, GROUP, GROUP_SUM
from ..once import once
from .native import build

_AROUND = r"""
@CHANNELS@
// The cells around a place on all planes of a level.
struct Around {
    bool known;  // the place is no NaN
    Cells axes[4];
    const R* first[PLANES];
    int right[4];       // how far the second cell along an axis lies from the first: if it is that of columns,
    long long down[4];  // if it is that of rows
    Around() = default;
    inline Around(const Level& level, const R* x) : known(true) {
        for (int a = 0; a < DIMS; a++) known = known && x[a] == x[a];
        const long long row = (long long)level.n * level.channels;
        for (int a = 0; a < DIMS; a++) {
            axes[a] = Cells(x[a], a < 3 ? level.n : level.m);
            right[a] = (axes[a].second - axes[a].first) * level.channels;
            down[a] = (axes[a].second - axes[a].first) * row;
        }
        for (int k = 0; k < PLANES; k++)
            first[k] = level.planes[k] + axes[Axis::second(k)].first * row + axes[Axis::first(k)].first * level.channels;
    }
    inline R wx(int k) const { return axes[Axis::first(k)].weight; }
    inline R wy(int k) const { return axes[Axis::second(k)].weight; }
    inline const R* cell(int k, int i) const {  // 00, 01, 10, 11
        return first[k] + (i & 1 ? right[Axis::first(k)] : 0) + (i & 2 ? down[Axis::second(k)] : 0);
    }
};
"""

# each_place calls body(p, around). On the CPU cells are asked for some places ahead.
_PLACES_CPU = r"""
auto each_place = [&](const Level& level, auto body) {
    constexpr int AHEAD = 16;
    Around around[AHEAD];
    for (int p = begin; p < end; p += AHEAD) {
        const int some = end - p < AHEAD ? end - p : AHEAD;
        for (int i = 0; i < some; i++) {
            around[i] = Around(level, places.data + (long long)(p + i) * DIMS);
            for (int k = 0; k < PLANES; k++) {
                __builtin_prefetch(around[i].cell(k, 0));
                __builtin_prefetch(around[i].cell(k, 2));
            }
        }
        for (int i = 0; i < some; i++) body(p + i, around[i]);
    }
};
"""
_PLACES_CUDA = r"""
auto each_place = [&](const Level& level, auto body) {
    for (int p = begin; p < end; p++) body(p, Around(level, places.data + (long long)p * DIMS));
};
"""

_FORWARD = r"""
for (int l = 0; l < levels; l++) {
    const Level level(table.data + l * FIELDS);
    each_place(level, [&](int p, const Around& around) {
        R* const to = features.data + (long long)p * channels + level.to;
        each_channel(level.channels, [&](auto kind, int c) {
            typedef decltype(kind) K;
            typename K::T product{};
            if (around.known) {
                #pragma unroll
                for (int k = 0; k < PLANES; k++) {
                    const auto m00 = K::load(around.cell(k, 0) + c), m01 = K::load(around.cell(k, 1) + c);
                    const auto m10 = K::load(around.cell(k, 2) + c), m11 = K::load(around.cell(k, 3) + c);
                    const auto top = m00 + around.wx(k) * (m01 - m00), bottom = m10 + around.wx(k) * (m11 - m10);
                    const auto value = top + around.wy(k) * (bottom - top);
                    product = k == 0 ? value : product * value;
                }
            }
            K::store(to + c, product);
        });
    });
}
"""

# put(kind, level, around, p, k, c, v) takes the gradient of channels on plane k. v_places is an array of length zero where
# it is not wanted, else the levels' parts are added up in it.
_ADJOINT = r"""
for (int l = 0; l < levels; l++) {
    const Level level(table.data + l * FIELDS);
    each_place(level, [&](int p, const Around& around) {
        const R* const g = v_features.data + (long long)p * channels + level.to;
        Sums sums;
        each_channel(level.channels, [&](auto kind, int c) {
            typedef decltype(kind) K;
            typedef typename K::T T;
            T value[PLANES] = {}, slope_x[PLANES] = {}, slope_y[PLANES] = {}, v[PLANES] = {};
            if (around.known) {
                T others = K::load(g + c);
                #pragma unroll
                for (int k = 0; k < PLANES; k++) {
                    const T m00 = K::load(around.cell(k, 0) + c), m01 = K::load(around.cell(k, 1) + c);
                    const T m10 = K::load(around.cell(k, 2) + c), m11 = K::load(around.cell(k, 3) + c);
                    const T above = m01 - m00, below = m11 - m10, top = m00 + around.wx(k) * above;
                    slope_x[k] = above + around.wy(k) * (below - above);
                    slope_y[k] = m10 + around.wx(k) * below - top;
                    value[k] = top + around.wy(k) * slope_y[k];
                    v[k] = others;
                    others = others * value[k];
                }
                others = T{} + R(1);
                #pragma unroll
                for (int k = PLANES - 1; k >= 0; k--) {
                    v[k] = v[k] * others;
                    others = others * value[k];
                }
            }
            #pragma unroll
            for (int k = 0; k < PLANES; k++) {
                put(kind, level, around, p, k, c, v[k]);
                if (!v_places.data) continue;
                sums.add(Axis::first(k), v[k] * slope_x[k]);
                sums.add(Axis::second(k), v[k] * slope_y[k]);
            }
        });
        if (!v_places.data) return;
        for (int a = 0; a < DIMS; a++) {
            const R sum = sum_of_group(sums.of(a)), v_x = around.known ? around.axes[a].slope * sum : R(0);
            R& to = v_places.data[(long long)p * DIMS + a];
            if (lane == 0) to = l == 0 ? v_x : to + v_x;
        }
    });
}
"""

# On the CPU a gradient goes to ``rows``, if that is no array of length zero: for each plane of each level [count, channels],
# one after another.
_PUT_CPU = r"""
auto put = [&](auto kind, const Level& level, const Around&, int p, int k, int c, auto v) {
    if (!rows.data) return;
    R* const of_plane = rows.data + (long long)count * (PLANES * level.to + k * level.channels);
    decltype(kind)::store(of_plane + (long long)p * level.channels + c, v);
};
"""

# On a CUDA device it is added to those of the four cells.
_PUT_CUDA = r"""
auto put = [&](One, const Level& level, const Around& around, int, int k, int c, R v) {
    if (!level.gradients[k] || !around.known) return;
    for (int i = 0; i < 4; i++) {
        const R w = (i & 1 ? around.wx(k) : R(1) - around.wx(k)) * (i & 2 ? around.wy(k) : R(1) - around.wy(k));
        wp::atomic_add(level.gradients[k] + (around.cell(k, i) - level.planes[k]) + c, w * v);
    }
};
"""


@once
def lookup_kernels(real, dims: int, cuda: bool):
    """Kernels ``(forward, adjoint)`` for places of ``dims`` coordinates of scalar type ``real``."""
    reals = wp.array(dtype=real)
    known = DEALT | {"table": wp.array(dtype=wp.int64), "levels": int, "channels": int, "places": reals}
    gradients = {"v_features": reals, "v_places": reals} | ({} if cuda else {"rows": reals})
    places, put = (_PLACES_CUDA, _PUT_CUDA) if cuda else (_PLACES_CPU, _PUT_CPU)
    shared = GROUP + _AROUND + places
    return (
        build("look_up", real, dims, cuda, shared + _FORWARD, known | {"features": reals}),
        build("look_up_adjoint", real, dims, cuda, shared + GROUP_SUM + put + _ADJOINT, known | gradients),
    )
