"""What the CPU kernels' C++ snippets share: eight-wide vectors, and which pixels of a tile an ellipse covers.

Warp compiles a snippet with clang inside its generated module. A tile is 16 rows of two groups of 8 pixels; group
``g`` is row ``g / 2``, half ``g % 2``. State per pixel (transmittance T, accumulators) is held by groups; a negative T
marks a pixel that is done or outside the image.

Gaussians arrive sorted by depth, as records that fill a cache line (:mod:`.order` writes them).
"""

import warp as wp

from .constants import ALPHA_MAX, ALPHA_MIN, EXTENT_SLACK, TRANSMITTANCE_MIN

RECORD = r"""
struct Record {
    R x, y;         // centre in pixels
    R A, B, C;      // conic
    R opacity, lg;  // and its logarithm to base 2
    R reach;        // squared Mahalanobis radius at the cut-off
    int tile_x, tile_y, tiles_per_row;  // its rectangle of tiles
    int first;      // number of its first intersection; they go row by row through the rectangle
    int slot;       // which splat it is
    int color;      // which row of colours it has
    int unused[2];
};
"""
RECORD_INTS = {wp.float32: 16, wp.float64: 24}  # size of a Record in int32

_PRELUDE = r"""
constexpr int LANES = 8, TILE = 16, GROUPS = 32;
constexpr R ALPHA_MAX = R(@ALPHA_MAX@), ALPHA_MIN = R(@ALPHA_MIN@), T_MIN = R(@T_MIN@), SLACK = R(@SLACK@);
constexpr R LOG2E = R(1.4426950408889634);
typedef R V __attribute__((vector_size(LANES * sizeof(R))));
typedef R VU __attribute__((vector_size(LANES * sizeof(R)), aligned(sizeof(R))));
typedef N M __attribute__((vector_size(LANES * sizeof(N))));
typedef bool B __attribute__((ext_vector_type(LANES)));

// What the tile loops compare and multiply with. They must not be known to the compiler, which would fetch each anew at
// every use, by an instruction more, since the code is made to lie anywhere in memory.
struct Constants {
    V alpha_max = V{} + ALPHA_MAX, alpha_min = V{} + ALPHA_MIN, t_min = V{} + T_MIN, one = V{} + R(1);
    V lowest = V{} + R(-60), magic = V{} + R(12582912);  // 1.5 * 2^23: adding it rounds to whole numbers
    V exp[6] = {V{} + R(1.327647204840958e-3), V{} + R(9.675541384682539e-3), V{} + R(5.550713273762205e-2),
                V{} + R(2.4022119722914462e-1), V{} + R(6.93146967064326e-1), V{} + R(1.0000000716548703)};
    // The same from memory that someone else might have written.
    inline Constants hidden() const {
        asm volatile("" : : "r"(this) : "memory");
        return *this;
    }
    // 2^x for x <= 1. In float a minimax polynomial, relative error 8e-8; what lies below 2^-60 stays there.
    inline V exp2(V x) const {
        if constexpr (sizeof(R) == 8) {
            V y;
            for (int i = 0; i < LANES; i++) y[i] = ::exp(x[i] * 0.6931471805599453);
            return y;
        } else {
            x = x > lowest ? x : lowest;
            const V shifted = x + magic;
            const M whole = (M)shifted << 23;
            const V f = x - (shifted - magic);
            V y = exp[0];
            for (int i = 1; i < 6; i++) y = y * f + exp[i];
            return (V)((M)y + whole);
        }
    }
};

struct Vec {
    static inline V iota() { return V{0, 1, 2, 3, 4, 5, 6, 7}; }
    static inline V all(R x) { return V{} + x; }
    static inline V load(const R* p) { return *(const VU*)p; }
    static inline void store(R* p, V x) { *(VU*)p = x; }
    static inline V keep(M mask, V x) { return (V)((M)x & mask); }
    static inline unsigned bits(M mask) {
        B b = __builtin_convertvector(mask, B);
        unsigned char c;
        __builtin_memcpy(&c, &b, 1);
        return c;
    }
    static inline bool any(V x) { return __builtin_reduce_or((M)x) != 0; }
    static inline R sum(V x) {
        V a = x + __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3);
        return (a[0] + a[1]) + (a[2] + a[3]);
    }
    // The sums of eight vectors.
    static inline V sums(const V* v) {
        V r[4], s[2];
        for (int i = 0; i < 4; i++)
            r[i] = __builtin_shufflevector(v[2 * i], v[2 * i + 1], 0, 8, 2, 10, 4, 12, 6, 14)
                 + __builtin_shufflevector(v[2 * i], v[2 * i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
        for (int i = 0; i < 2; i++)
            s[i] = __builtin_shufflevector(r[2 * i], r[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13)
                 + __builtin_shufflevector(r[2 * i], r[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
        return __builtin_shufflevector(s[0], s[1], 0, 1, 2, 3, 8, 9, 10, 11)
             + __builtin_shufflevector(s[0], s[1], 4, 5, 6, 7, 12, 13, 14, 15);
    }
    static inline void transpose(V* v) {
        V a[8], b[8];
        for (int i = 0; i < 8; i += 2) {
            a[i] = __builtin_shufflevector(v[i], v[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
            a[i + 1] = __builtin_shufflevector(v[i], v[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
        }
        for (int i = 0; i < 8; i += 4)
            for (int j = 0; j < 2; j++) {
                b[i + j] = __builtin_shufflevector(a[i + j], a[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
                b[i + j + 2] = __builtin_shufflevector(a[i + j], a[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
            }
        for (int i = 0; i < 4; i++) {
            v[i] = __builtin_shufflevector(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
            v[i + 4] = __builtin_shufflevector(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
        }
    }
    // Writes the sums of n vectors.
    static inline void sums(const V* v, int n, R* out) {
        int i = 0;
        for (; i + LANES <= n; i += LANES) store(out + i, sums(v + i));
        for (; i < n; i++) out[i] = sum(v[i]);
    }
};

// A tile: where it lies, and its pixels' transmittance.
struct Tile {
    const Constants& constants;
    int camera, tx, ty, width, height, live;
    V T[GROUPS];

    inline Tile(int tile, int width_, int height_, const Constants& constants_)
        : constants(constants_), width(width_), height(height_) {
        const int nx = (width + TILE - 1) / TILE, ny = (height + TILE - 1) / TILE;
        camera = tile / (nx * ny);
        ty = tile / nx % ny;
        tx = tile % nx;
        const int columns = width - tx * TILE, rows = height - ty * TILE;
        live = (columns < TILE ? columns : TILE) * (rows < TILE ? rows : TILE);
        for (int g = 0; g < GROUPS; g++) {
            const V column = Vec::iota() + R(g % 2 * LANES);
            T[g] = g / 2 < rows ? (column < R(columns) ? Vec::all(1) : Vec::all(-1)) : Vec::all(-1);
        }
    }
    // Index of the first pixel of group g in an image stack [C, H, W].
    inline long long pixel(int g) const {
        return ((long long)camera * height + ty * TILE + g / 2) * width + tx * TILE + g % 2 * LANES;
    }
    // Lets an opacity (not yet clamped) pass over group g; returns it, clamped, and sets the weights T * alpha: both are
    // 0 at pixels that it does not reach. Comparisons instead of min, which would look for NaN.
    inline V step(int g, V raw, V& weight) {
        const V before = T[g], clamped = raw < constants.alpha_max ? raw : constants.alpha_max;
        const M hit = (clamped >= constants.alpha_min) & (before > V{});
        V alpha = Vec::keep(hit, clamped);
        weight = alpha * before;
        V after = before - weight;
        const M stop = hit & (after <= constants.t_min);
        if (const unsigned stopped = Vec::bits(stop)) {
            live -= __builtin_popcount(stopped);
            alpha = Vec::keep(~stop, alpha);
            weight = Vec::keep(~stop, weight);
            after = stop ? -before : after;
        }
        T[g] = after;
        return alpha;
    }
    inline int lanes(int g) const {
        const int left = width - tx * TILE - g % 2 * LANES;
        return ty * TILE + g / 2 >= height || left < 0 ? 0 : (left < LANES ? left : LANES);
    }
};

// The Gaussians of a tile, front to back; fetches ahead.
struct List {
    const Record* records;
    const int *at, *end;
    inline List(const int* records_, const int* list, const int* starts, int tile)
        : records((const Record*)records_), at(list + starts[tile]), end(list + starts[tile + 1]) {}
    inline bool more() const { return at < end; }
    inline const Record& next() {
        __builtin_prefetch(records + (at + 8 < end ? at[8] : *at));
        return records[*at++];
    }
    // A Gaussian that comes soon, to fetch what belongs to it.
    inline const Record& soon() const { return records[at + 3 < end ? at[3] : at[-1]]; }
};

// Number of the intersection of a Gaussian with a tile.
struct Intersection {
    static inline long long of(const Record& r, const Tile& tile) {
        return r.first + (long long)(tile.ty - r.tile_y) * r.tiles_per_row + tile.tx - r.tile_x;
    }
};

// One Gaussian as a tile sees it.
struct Splat {
    const Constants& constants;
    V dx[2], px[2], bx[2];
    V dy[2], cy[2];  // of rows
    unsigned rows[2];

    inline Splat(const Record& r, const Tile& tile) : constants(tile.constants) {
        const R x = r.x - R(tile.tx * TILE) - R(0.5), y = r.y - R(tile.ty * TILE) - R(0.5);
        const R a = R(-0.5) * LOG2E * r.A, b = -LOG2E * r.B, c = R(-0.5) * LOG2E * r.C;
        // Columns of each row within the ellipse, a little enlarged against rounding.
        const R q = r.reach * R(1.01) + R(0.01), det = r.A * r.C - r.B * r.B, inv = R(1) / r.A;
        rows[0] = rows[1] = 0;
        for (int i = 0; i < 2; i++) {
            dy[i] = (Vec::iota() + R(i * LANES)) - y;
            cy[i] = c * dy[i];
            const V disc = q * r.A - det * dy[i] * dy[i];
            const V half = __builtin_elementwise_sqrt(disc > V{} ? disc : V{}) * inv + SLACK;
            const V mid = x - r.B * inv * dy[i];
            const V lo = mid - half, hi = mid + half;
            const M in = disc >= V{};
            rows[0] |= Vec::bits(in & (hi >= R(0)) & (lo <= R(7))) << (i * LANES);
            rows[1] |= Vec::bits(in & (hi >= R(8)) & (lo <= R(15))) << (i * LANES);
        }
        for (int h = 0; h < 2; h++) {
            dx[h] = Vec::iota() + (R(h * LANES) - x);
            px[h] = a * dx[h] * dx[h] + r.lg;
            bx[h] = b * dx[h];
        }
    }
    inline R down(int row) const { return ((const R*)dy)[row]; }
    // Opacity before clamping at the pixels of half h of a row.
    inline V alpha(int h, int row) const {
        return constants.exp2(px[h] + down(row) * (bx[h] + ((const R*)cy)[row]));
    }
};
"""


def snippet(real, body: str, **constants: int) -> str:
    """C++ source of a native function for scalar type ``real``: types, constants, the shared part and ``body``."""
    lines = ["typedef float R; typedef int N;" if real is wp.float32 else "typedef double R; typedef long long N;"]
    lines += [f"constexpr int {name} = {int(value)};" for name, value in constants.items()]
    prelude = RECORD + _PRELUDE
    for name, value in {
        "@ALPHA_MAX@": ALPHA_MAX,
        "@ALPHA_MIN@": ALPHA_MIN,
        "@T_MIN@": TRANSMITTANCE_MIN,
        "@SLACK@": EXTENT_SLACK,
    }.items():
        prelude = prelude.replace(name, repr(value))
    return "\n".join(["#pragma clang fp contract(fast)", *lines]) + prelude + body
