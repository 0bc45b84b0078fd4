// A Gaussian rasterizer for one CPU, written for speed: the yardstick of benchmarks/splat.py.
//
// OpenMP over tiles, AVX2 over pixels (few channels) or over channels (many). One camera, pinhole, no background.
// Same image formation as semaflow.kernels.splat. CHANNELS is fixed when compiling.
//
//   project    50k Gaussians to means, conics and exact extents
//   bin        sort by depth once, then one stable counting sort by tile
//   forward    per tile: Gaussians outside, the covered pixels of 8-wide row blocks inside
//   backward   the same front to back; per (tile, Gaussian) one row of sums, no atomics; rows are summed per Gaussian

#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#ifndef __AVX2__
#error "this rasterizer needs AVX2"
#endif
#ifndef CHANNELS
#define CHANNELS 3
#endif

namespace {

constexpr int D = CHANNELS;
constexpr bool PLANAR = D <= 16;            // vectors over pixels, else over channels
constexpr int TILE = 16, PIXELS = TILE * TILE;
constexpr int CHUNK = 32;                  // channels handled at once when vectors run over channels
constexpr int PADDED = PLANAR ? D : (D + CHUNK - 1) / CHUNK * CHUNK;
constexpr int GEOMETRY = 6;                // S0, S0y, S0yy, S1, S1y, S2: see row_sums
constexpr float ALPHA_MAX = 0.999f, ALPHA_MIN = 1.0f / 255.0f, T_MIN = 1e-4f, BLUR = 0.3f, NEAR = 0.01f;

using vec = __m256;
inline vec set(float x) { return _mm256_set1_ps(x); }
inline vec load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, vec x) { _mm256_storeu_ps(p, x); }
inline vec fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }

inline float sum(vec x) {
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}

// The sums of four vectors.
inline __m128 sum4(vec a, vec b, vec c, vec d) {
    const vec x = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
}

// 2^x for x <= 0: 2^n times a polynomial of degree 6 on [-1/2, 1/2]; relative error below 2e-7.
inline vec exp2_negative(vec x) {
    const vec y = _mm256_max_ps(x, set(-100.0f)), magic = set(12582912.0f);  // 1.5 * 2^23: rounds to whole numbers
    const vec whole = _mm256_add_ps(y, magic), f = _mm256_sub_ps(y, _mm256_sub_ps(whole, magic));
    vec p = set(1.54035304e-4f);
    p = fma(p, f, set(1.33335581e-3f));
    p = fma(p, f, set(9.61812911e-3f));
    p = fma(p, f, set(5.55041087e-2f));
    p = fma(p, f, set(2.40226507e-1f));
    p = fma(p, f, set(6.93147181e-1f));
    p = fma(p, f, set(1.0f));
    const __m256i e = _mm256_slli_epi32(_mm256_castps_si256(whole), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), e));
}

struct alignas(64) Splat {  // one projected Gaussian, as the tile loops read it
    float x, y, A, B, C, opacity, log2_opacity, reach, half;  // reach: 2 sigma at the cut-off; half: half height
    float color[PLANAR ? D : 1];
};

struct Reach {  // which part of a tile row of 16 pixels an ellipse touches
    int first, last;
};

struct Pairs {  // Gaussian-major list of the contributing pixels of a tile
    std::vector<int> begin, pixel;
    std::vector<float> weight, alpha, dot;
};

}  // namespace

struct Frame {
    int count, width, height, tiles_x, tiles_y;
    float view[16], fx, fy, cx, cy;
    const float *means, *quats, *scales, *opacities, *colors;
    std::vector<Splat> splats;
    std::vector<float> depth;
    std::vector<int> order, first, tile_begin;  // depth order; first row of each Gaussian; lists of tiles
    std::vector<int> entry, row;                // per list entry: Gaussian and its row of gradient sums
    float* image;
    std::vector<float> transmittance, sums;
    double seconds[5];                          // project, bin, composite; composite backward, the rest of it
};

namespace {

struct Camera {  // a Gaussian on its way through the camera, shared by projection and its adjoint
    float R[9], x, y, z, u, v, J00, J02, J11, J12, U[6], cov[6], norm;
    bool clamped_x, clamped_y;
};

// 3D covariance (xx xy xz yy yz zz) of a quaternion (wxyz) and standard deviations.
void covariance(const float* q, const float* s, float* R, float* cov, float& norm) {
    norm = 1.0f / std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
    const float w = q[0] * norm, x = q[1] * norm, y = q[2] * norm, z = q[3] * norm;
    R[0] = 1 - 2 * (y * y + z * z); R[1] = 2 * (x * y - w * z); R[2] = 2 * (x * z + w * y);
    R[3] = 2 * (x * y + w * z); R[4] = 1 - 2 * (x * x + z * z); R[5] = 2 * (y * z - w * x);
    R[6] = 2 * (x * z - w * y); R[7] = 2 * (y * z + w * x); R[8] = 1 - 2 * (x * x + y * y);
    const float a = s[0] * s[0], b = s[1] * s[1], c = s[2] * s[2];
    int k = 0;
    for (int i = 0; i < 3; i++)
        for (int j = i; j < 3; j++)
            cov[k++] = a * R[3 * i] * R[3 * j] + b * R[3 * i + 1] * R[3 * j + 1] + c * R[3 * i + 2] * R[3 * j + 2];
}

inline void times_covariance(const float* cov, const float* u, float* out) {
    out[0] = cov[0] * u[0] + cov[1] * u[1] + cov[2] * u[2];
    out[1] = cov[1] * u[0] + cov[3] * u[1] + cov[4] * u[2];
    out[2] = cov[2] * u[0] + cov[4] * u[1] + cov[5] * u[2];
}

// Fills the camera-space quantities of Gaussian i; false if it lies before the near plane.
bool enter(const Frame& f, int i, Camera& c) {
    const float *V = f.view, *m = f.means + 3 * i;
    c.x = V[0] * m[0] + V[1] * m[1] + V[2] * m[2] + V[3];
    c.y = V[4] * m[0] + V[5] * m[1] + V[6] * m[2] + V[7];
    c.z = V[8] * m[0] + V[9] * m[1] + V[10] * m[2] + V[11];
    if (!(c.z >= NEAR)) return false;
    covariance(f.quats + 4 * i, f.scales + 3 * i, c.R, c.cov, c.norm);
    const float r = 1.0f / c.z, mx = 0.15f * f.width / f.fx, my = 0.15f * f.height / f.fy;
    const float u = c.x * r, v = c.y * r;
    c.u = std::clamp(u, -f.cx / f.fx - mx, (f.width - f.cx) / f.fx + mx);
    c.v = std::clamp(v, -f.cy / f.fy - my, (f.height - f.cy) / f.fy + my);
    c.clamped_x = c.u != u;
    c.clamped_y = c.v != v;
    c.J00 = f.fx * r; c.J02 = -f.fx * c.u * r; c.J11 = f.fy * r; c.J12 = -f.fy * c.v * r;
    for (int k = 0; k < 3; k++) {
        c.U[k] = c.J00 * V[k] + c.J02 * V[8 + k];
        c.U[3 + k] = c.J11 * V[4 + k] + c.J12 * V[8 + k];
    }
    return true;
}

bool project(Frame& f, int i) {
    Camera c;
    Splat& s = f.splats[i];
    s.opacity = 0;
    if (!enter(f, i, c)) return false;
    const float o = f.opacities[i];
    if (!(o >= ALPHA_MIN)) return false;
    float p[3], q[3];
    times_covariance(c.cov, c.U, p);
    times_covariance(c.cov, c.U + 3, q);
    const float a = p[0] * c.U[0] + p[1] * c.U[1] + p[2] * c.U[2] + BLUR;
    const float b = p[0] * c.U[3] + p[1] * c.U[4] + p[2] * c.U[5];
    const float d = q[0] * c.U[3] + q[1] * c.U[4] + q[2] * c.U[5] + BLUR;
    const float det = a * d - b * b;
    if (!(det > 0)) return false;
    s.x = f.fx * c.x / c.z + f.cx;
    s.y = f.fy * c.y / c.z + f.cy;
    s.A = d / det; s.B = -b / det; s.C = a / det;
    s.reach = 2 * std::log(255 * o);
    s.half = std::sqrt(s.reach * d);
    const float half_width = std::sqrt(s.reach * a);
    if (s.x + half_width <= 0 || s.x - half_width >= f.width || s.y + s.half <= 0 || s.y - s.half >= f.height)
        return false;
    s.opacity = o;
    s.log2_opacity = std::log2(o);
    f.depth[i] = c.z;
    if (PLANAR) std::memcpy(s.color, f.colors + size_t(i) * D, sizeof(float) * (PLANAR ? D : 1));
    return true;
}

// Calls visit(tile) for every tile that the ellipse of a Gaussian may touch, rows of tiles from the top.
template <class Visit>
void each_tile(const Frame& f, const Splat& s, Visit visit) {
    const int top = std::max(0, int(std::floor((s.y - s.half) / TILE)));
    const int bottom = std::min(f.tiles_y - 1, int(std::floor((s.y + s.half) / TILE)));
    const float det = s.A * s.C - s.B * s.B, width = std::sqrt(s.reach * s.C / det), lean = -s.B * width / s.C;
    for (int ty = top; ty <= bottom; ty++) {
        // Within the strip the ellipse is widest where its extreme lies, or else at the nearest edge.
        const float low = ty * TILE - s.y, high = low + TILE;
        const auto edge = [&](float extreme, float sign) {
            const float y = std::clamp(extreme, std::max(low, -s.half), std::min(high, s.half));
            return (-s.B * y + sign * std::sqrt(std::max(0.0f, s.A * s.reach - det * y * y))) / s.A;
        };
        const float left = s.x + edge(-lean, -1), right = s.x + edge(lean, 1);
        const int from = std::max(0, int(std::floor(left / TILE))), to = std::min(f.tiles_x - 1, int(std::floor(right / TILE)));
        for (int tx = from; tx <= to; tx++) visit(ty * f.tiles_x + tx);
    }
}

void bin(Frame& f) {
    // Depth order: radix sort of the visible ones by the bits of their (positive) depths.
    std::vector<std::pair<uint32_t, int>> keys, other;
    keys.reserve(f.count);
    for (int i = 0; i < f.count; i++)
        if (f.splats[i].opacity > 0) {
            uint32_t bits;
            std::memcpy(&bits, &f.depth[i], 4);
            keys.emplace_back(bits, i);
        }
    other.resize(keys.size());
    for (int shift = 0; shift < 33; shift += 11) {
        std::vector<int> slots(2049, 0);
        for (auto& k : keys) slots[(k.first >> shift & 2047) + 1]++;
        for (int b = 0; b < 2048; b++) slots[b + 1] += slots[b];
        for (auto& k : keys) other[slots[k.first >> shift & 2047]++] = k;
        keys.swap(other);
    }
    const int visible = int(keys.size()), tiles = f.tiles_x * f.tiles_y;
    f.order.resize(visible);
    f.first.assign(f.count + 1, 0);
    f.tile_begin.assign(tiles + 1, 0);
    // Every thread counts, then places, its share of the order; shares are stacked in order within each tile.
    const int threads = omp_get_max_threads();
    std::vector<std::vector<int>> place(threads, std::vector<int>(tiles, 0));
#pragma omp parallel
    {
        const int t = omp_get_thread_num();
        const int from = int(int64_t(visible) * t / threads), to = int(int64_t(visible) * (t + 1) / threads);
        for (int k = from; k < to; k++) {
            int touched = 0;
            const int i = f.order[k] = keys[k].second;
            each_tile(f, f.splats[i], [&](int tile) { place[t][tile]++; touched++; });
            f.first[i + 1] = touched;
        }
#pragma omp barrier
#pragma omp single
        {
            int total = 0;
            for (int tile = 0; tile < tiles; tile++) {
                f.tile_begin[tile] = total;
                for (int s = 0; s < threads; s++) {
                    const int n = place[s][tile];
                    place[s][tile] = total;
                    total += n;
                }
            }
            f.tile_begin[tiles] = total;
            for (int i = 0; i < f.count; i++) f.first[i + 1] += f.first[i];
            f.entry.assign(total + 4, 0);
            f.row.resize(total);
        }
        for (int k = from; k < to; k++) {
            int row = f.first[f.order[k]];
            each_tile(f, f.splats[f.order[k]], [&](int tile) {
                const int slot = place[t][tile]++;
                f.entry[slot] = f.order[k];
                f.row[slot] = row++;
            });
        }
    }
}

// Calls block(row, column, dx, dy, alpha, transmittance, counted) for each block of 8 pixels in a tile that the Gaussian
// may reach; alpha is 0 but in the lanes that it is ``counted`` in. A pixel that it would end is marked as done
// (negative transmittance) here.
template <class Block>
inline void each_block(const Splat& s, float x0, float y0, int rows, float* T, int& alive, Block block) {
    const float x = s.x - x0 - 0.5f, y = s.y - y0 - 0.5f, det = s.A * s.C - s.B * s.B, inverse = 1 / s.A;
    const vec lanes = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7), zero = _mm256_setzero_ps();
    // Which rows of the left and of the right half the ellipse crosses, a little enlarged against rounding.
    int crossed[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        const vec dy = _mm256_sub_ps(set(y - 8 * i), lanes);
        const vec space = _mm256_fnmadd_ps(_mm256_mul_ps(set(det), dy), dy, set(s.A * s.reach * 1.01f));
        const vec half = fma(_mm256_sqrt_ps(_mm256_max_ps(space, zero)), set(inverse), set(0.01f));
        const vec middle = fma(set(s.B * inverse), dy, set(x));
        const vec low = _mm256_sub_ps(middle, half), high = _mm256_add_ps(middle, half);
        const vec inside = _mm256_cmp_ps(space, zero, _CMP_GE_OQ);
        const auto between = [&](float left, float right) {
            const vec touches = _mm256_and_ps(_mm256_cmp_ps(high, set(left), _CMP_GE_OQ), _mm256_cmp_ps(low, set(right), _CMP_LE_OQ));
            return _mm256_movemask_ps(_mm256_and_ps(inside, touches)) << (8 * i);
        };
        crossed[0] |= between(0, 7);
        crossed[1] |= between(8, 15);
    }
    constexpr float LOG2E = 1.44269504f;
    const float c = -0.5f * LOG2E * s.C;
    for (int h = 0; h < 2; h++) {
        const vec dx = _mm256_sub_ps(set(x - 8 * h), lanes);
        const vec q = fma(_mm256_mul_ps(set(-0.5f * LOG2E * s.A), dx), dx, set(s.log2_opacity));
        const vec b = _mm256_mul_ps(set(-LOG2E * s.B), dx);
        for (int left = crossed[h] & ((1 << rows) - 1); left; left &= left - 1) {
            const int row = __builtin_ctz(left);
            const float dy = y - row;
            float* t = T + row * TILE + 8 * h;
            const vec transmittance = load(t);
            const vec alpha = _mm256_min_ps(
                exp2_negative(fma(set(dy), fma(set(c), set(dy), b), q)), set(ALPHA_MAX));
            const vec mask = _mm256_and_ps(
                _mm256_cmp_ps(transmittance, zero, _CMP_GT_OQ), _mm256_cmp_ps(alpha, set(ALPHA_MIN), _CMP_GE_OQ));
            const vec after = _mm256_fnmadd_ps(transmittance, alpha, transmittance);
            const vec ended = _mm256_and_ps(mask, _mm256_cmp_ps(after, set(T_MIN), _CMP_LE_OQ));
            vec counted = mask, next = _mm256_blendv_ps(transmittance, after, mask);
            if (const int ends = _mm256_movemask_ps(ended)) {
                counted = _mm256_andnot_ps(ended, mask);
                next = _mm256_blendv_ps(next, _mm256_sub_ps(zero, transmittance), ended);
                alive -= __builtin_popcount(ends);
            }
            store(t, next);
            block(row, 8 * h, dx, dy, _mm256_and_ps(alpha, counted), transmittance, counted);
        }
    }
}

// Asks for what entry e + 4 will need; lists have four entries of slack.
inline void look_ahead(const Frame& f, int e) { __builtin_prefetch(&f.splats[f.entry[e + 4]]); }

struct Tile {
    int x0, y0, columns, rows;
    alignas(32) float T[PIXELS];
    int alive;

    Tile(const Frame& f, int tile) {
        x0 = tile % f.tiles_x * TILE;
        y0 = tile / f.tiles_x * TILE;
        columns = std::min(TILE, f.width - x0);
        rows = std::min(TILE, f.height - y0);
        alive = columns * rows;
        for (int p = 0; p < PIXELS; p++) T[p] = p % TILE < columns && p / TILE < rows ? 1.0f : 0.0f;
    }
};

void list_pairs(const Frame& f, int tile, Tile& t, Pairs& pairs) {
    const int from = f.tile_begin[tile], to = f.tile_begin[tile + 1];
    pairs.begin.assign(1, 0);
    size_t used = 0;
    for (int e = from; e < to && t.alive > 0; e++) {
        if (pairs.pixel.size() < used + PIXELS) {
            const size_t size = 2 * used + PIXELS;
            pairs.pixel.resize(size); pairs.weight.resize(size); pairs.alpha.resize(size);
        }
        look_ahead(f, e);
        each_block(f.splats[f.entry[e]], t.x0, t.y0, t.rows, t.T, t.alive,
                   [&](int row, int column, vec, float, vec alpha, vec transmittance, vec counted) {
            alignas(32) float a[8], w[8];
            store(a, alpha);
            store(w, _mm256_mul_ps(alpha, transmittance));
            for (int lanes = _mm256_movemask_ps(counted); lanes; lanes &= lanes - 1) {
                const int lane = __builtin_ctz(lanes);
                pairs.pixel[used] = row * TILE + column + lane;
                pairs.alpha[used] = a[lane];
                pairs.weight[used++] = w[lane];
            }
        });
        pairs.begin.push_back(int(used));
    }
}

void forward_planar(Frame& f, int tile) {
    Tile t(f, tile);
    alignas(32) float image[PLANAR ? D : 1][PIXELS] = {};
    for (int e = f.tile_begin[tile]; e < f.tile_begin[tile + 1] && t.alive > 0; e++) {
        const Splat& s = f.splats[f.entry[e]];
        look_ahead(f, e);
        each_block(s, t.x0, t.y0, t.rows, t.T, t.alive,
                   [&](int row, int column, vec, float, vec alpha, vec transmittance, vec) {
            const vec weight = _mm256_mul_ps(alpha, transmittance);
            for (int c = 0; c < (PLANAR ? D : 0); c++) {
                float* p = image[c] + row * TILE + column;
                store(p, fma(weight, set(s.color[c]), load(p)));
            }
        });
    }
    for (int row = 0; row < t.rows; row++)
        for (int column = 0; column < t.columns; column++) {
            const size_t out = size_t(t.y0 + row) * f.width + t.x0 + column;
            f.transmittance[out] = std::fabs(t.T[row * TILE + column]);
            for (int c = 0; c < (PLANAR ? D : 0); c++) f.image[out * D + c] = image[c][row * TILE + column];
        }
}

inline void load_chunk(const float* p, int channel, vec* out) {
    if (channel + CHUNK <= D) {
        for (int v = 0; v < CHUNK / 8; v++) out[v] = load(p + channel + 8 * v);
    } else {
        alignas(32) float rest[CHUNK] = {};
        std::memcpy(rest, p + channel, sizeof(float) * (D - channel));
        for (int v = 0; v < CHUNK / 8; v++) out[v] = load(rest + 8 * v);
    }
}

void forward_deep(Frame& f, int tile, Pairs& pairs) {
    Tile t(f, tile);
    list_pairs(f, tile, t, pairs);
    alignas(32) float image[PIXELS * CHUNK];
    const int entries = int(pairs.begin.size()) - 1;
    for (int channel = 0; channel < D; channel += CHUNK) {
        std::memset(image, 0, sizeof image);
        for (int e = 0; e < entries; e++) {
            if (pairs.begin[e] == pairs.begin[e + 1]) continue;
            vec color[CHUNK / 8];
            load_chunk(f.colors + size_t(f.entry[f.tile_begin[tile] + e]) * D, channel, color);
            for (int k = pairs.begin[e]; k < pairs.begin[e + 1]; k++) {
                float* p = image + pairs.pixel[k] * CHUNK;
                const vec weight = set(pairs.weight[k]);
                for (int v = 0; v < CHUNK / 8; v++) store(p + 8 * v, fma(weight, color[v], load(p + 8 * v)));
            }
        }
        const size_t bytes = sizeof(float) * std::min(CHUNK, D - channel);
        for (int row = 0; row < t.rows; row++)
            for (int column = 0; column < t.columns; column++) {
                const size_t out = size_t(t.y0 + row) * f.width + t.x0 + column;
                std::memcpy(f.image + out * D + channel, image + (row * TILE + column) * CHUNK, bytes);
            }
    }
    for (int row = 0; row < t.rows; row++)
        for (int column = 0; column < t.columns; column++)
            f.transmittance[size_t(t.y0 + row) * f.width + t.x0 + column] = std::fabs(t.T[row * TILE + column]);
}

// What is still to come behind each pixel: dot(image, its gradient) less the gradient of what is left over.
void remaining(const Frame& f, const Tile& t, const float* g_image, const float* g_alpha, float* R) {
    for (int row = 0; row < t.rows; row++)
        for (int column = 0; column < t.columns; column++) {
            const size_t at = size_t(t.y0 + row) * f.width + t.x0 + column;
            float total = -g_alpha[at] * f.transmittance[at];
            for (int c = 0; c < D; c++) total += f.image[at * D + c] * g_image[at * D + c];
            R[row * TILE + column] = total;
        }
}

// Geometry sums of s = dL/dsigma over pixels: S0 = s, S0y = s dy, S0yy = s dy^2, S1 = s dx, S1y = s dx dy, S2 = s dx^2.
void backward_planar(Frame& f, int tile, const float* g_image, const float* g_alpha) {
    Tile t(f, tile);
    alignas(32) float R[PIXELS] = {}, g[PLANAR ? D : 1][PIXELS] = {};
    remaining(f, t, g_image, g_alpha, R);
    for (int row = 0; row < t.rows; row++)
        for (int column = 0; column < t.columns; column++) {
            const size_t at = size_t(t.y0 + row) * f.width + t.x0 + column;
            for (int c = 0; c < (PLANAR ? D : 0); c++) g[c][row * TILE + column] = g_image[at * D + c];
        }
    for (int e = f.tile_begin[tile]; e < f.tile_begin[tile + 1]; e++) {
        const Splat& s = f.splats[f.entry[e]];
        look_ahead(f, e);
        float* sums = &f.sums[size_t(f.row[e]) * (GEOMETRY + PADDED)];
        if (t.alive <= 0) {
            std::memset(sums, 0, sizeof(float) * (GEOMETRY + PADDED));
            continue;
        }
        vec S[GEOMETRY], color[PLANAR ? D : 1];
        for (auto& x : S) x = _mm256_setzero_ps();
        for (auto& x : color) x = _mm256_setzero_ps();
        each_block(s, t.x0, t.y0, t.rows, t.T, t.alive,
                   [&](int row, int column, vec dx, float dy, vec alpha, vec transmittance, vec) {
            const int at = row * TILE + column;
            const vec weight = _mm256_mul_ps(alpha, transmittance);
            vec dot = _mm256_setzero_ps();
            for (int c = 0; c < (PLANAR ? D : 0); c++) {
                const vec gradient = load(g[c] + at);
                dot = fma(gradient, set(s.color[c]), dot);
                color[c] = fma(weight, gradient, color[c]);
            }
            const vec rest = _mm256_fnmadd_ps(weight, dot, load(R + at));
            store(R + at, rest);
            const vec slope = _mm256_fmsub_ps(
                transmittance, dot, _mm256_div_ps(rest, _mm256_sub_ps(set(1.0f), alpha)));
            const vec free = _mm256_cmp_ps(alpha, set(ALPHA_MAX), _CMP_LT_OQ);
            const vec g_sigma = _mm256_and_ps(
                free, _mm256_mul_ps(_mm256_sub_ps(_mm256_setzero_ps(), alpha), slope));
            const vec first = _mm256_mul_ps(g_sigma, dx), y = set(dy);
            S[0] = _mm256_add_ps(S[0], g_sigma);
            S[1] = fma(g_sigma, y, S[1]);
            S[2] = fma(g_sigma, _mm256_mul_ps(y, y), S[2]);
            S[3] = _mm256_add_ps(S[3], first);
            S[4] = fma(first, y, S[4]);
            S[5] = fma(first, dx, S[5]);
        });
        _mm_storeu_ps(sums, sum4(S[0], S[1], S[2], S[3]));
        sums[4] = sum(S[4]);
        sums[5] = sum(S[5]);
        for (int c = 0; c < (PLANAR ? D : 0); c++) sums[GEOMETRY + c] = sum(color[c]);
    }
}

void backward_deep(Frame& f, int tile, const float* g_image, const float* g_alpha, Pairs& pairs) {
    Tile t(f, tile);
    alignas(32) float R[PIXELS] = {}, g[PIXELS * CHUNK];
    remaining(f, t, g_image, g_alpha, R);
    list_pairs(f, tile, t, pairs);
    const int from = f.tile_begin[tile], entries = int(pairs.begin.size()) - 1;
    constexpr int STRIDE = GEOMETRY + PADDED;
    for (int e = from + entries; e < f.tile_begin[tile + 1]; e++)
        std::memset(&f.sums[size_t(f.row[e]) * STRIDE], 0, sizeof(float) * STRIDE);
    pairs.dot.assign(pairs.begin[entries] + 4, 0.0f);
    for (int channel = 0; channel < D; channel += CHUNK) {
        const size_t bytes = sizeof(float) * std::min(CHUNK, D - channel);
        std::memset(g, 0, sizeof g);
        for (int row = 0; row < t.rows; row++)
            for (int column = 0; column < t.columns; column++) {
                const size_t at = size_t(t.y0 + row) * f.width + t.x0 + column;
                std::memcpy(g + (row * TILE + column) * CHUNK, g_image + at * D + channel, bytes);
            }
        for (int e = 0; e < entries; e++) {
            constexpr int V = CHUNK / 8;
            vec color[V], total[V];
            load_chunk(f.colors + size_t(f.entry[from + e]) * D, channel, color);
            for (auto& x : total) x = _mm256_setzero_ps();
            const auto dot = [&](int k) {
                const float* p = g + pairs.pixel[k] * CHUNK;
                const vec weight = set(pairs.weight[k]);
                vec x = _mm256_setzero_ps();
                for (int v = 0; v < V; v++) {
                    const vec gradient = load(p + 8 * v);
                    x = fma(gradient, color[v], x);
                    total[v] = fma(weight, gradient, total[v]);
                }
                return x;
            };
            int k = pairs.begin[e];
            for (; k + 4 <= pairs.begin[e + 1]; k += 4) {
                const vec a = dot(k), b = dot(k + 1), c = dot(k + 2), d = dot(k + 3);
                _mm_storeu_ps(&pairs.dot[k], _mm_add_ps(_mm_loadu_ps(&pairs.dot[k]), sum4(a, b, c, d)));
            }
            for (; k < pairs.begin[e + 1]; k++) pairs.dot[k] += sum(dot(k));
            float* sums = &f.sums[size_t(f.row[from + e]) * STRIDE + GEOMETRY + channel];
            for (int v = 0; v < V; v++) store(sums + 8 * v, total[v]);
        }
    }
    for (int e = 0; e < entries; e++) {
        const Splat& s = f.splats[f.entry[from + e]];
        float S[GEOMETRY] = {};
        for (int k = pairs.begin[e]; k < pairs.begin[e + 1]; k++) {
            const int p = pairs.pixel[k];
            const float alpha = pairs.alpha[k], weight = pairs.weight[k], dot = pairs.dot[k];
            R[p] -= weight * dot;
            if (alpha >= ALPHA_MAX) continue;
            const float dx = s.x - t.x0 - (p % TILE + 0.5f), dy = s.y - t.y0 - (p / TILE + 0.5f);
            const float x = alpha * R[p] / (1 - alpha) - weight * dot;
            S[0] += x; S[1] += x * dy; S[2] += x * dy * dy; S[3] += x * dx; S[4] += x * dx * dy; S[5] += x * dx * dx;
        }
        std::memcpy(&f.sums[size_t(f.row[from + e]) * STRIDE], S, sizeof S);
    }
}

// Adjoint of project() for Gaussian i, given the sums over its pixels.
void unproject(const Frame& f, int i, const float* S, float* g_mean, float* g_quat, float* g_scale, float* g_opacity) {
    const Splat& s = f.splats[i];
    Camera c;
    enter(f, i, c);
    *g_opacity = -S[0] / s.opacity;
    const float gx = s.A * S[3] + s.B * S[1], gy = s.B * S[3] + s.C * S[1];
    // Through the inverse: dL/dcov = -conic dL/dconic conic.
    const float a = 0.5f * S[5], b = 0.5f * S[4], d = 0.5f * S[2];
    const float p = a * s.A + b * s.B, q = a * s.B + b * s.C, r = b * s.A + d * s.B, t = b * s.B + d * s.C;
    const float G00 = -(s.A * p + s.B * r), G01 = -(s.A * q + s.B * t), G11 = -(s.B * q + s.C * t);
    float H[6], P[3], Q[3], gU[6];
    times_covariance(c.cov, c.U, P);
    times_covariance(c.cov, c.U + 3, Q);
    for (int k = 0; k < 3; k++) {
        gU[k] = 2 * (G00 * P[k] + G01 * Q[k]);
        gU[3 + k] = 2 * (G01 * P[k] + G11 * Q[k]);
    }
    int k = 0;
    for (int m = 0; m < 3; m++)
        for (int n = m; n < 3; n++)
            H[k++] = G00 * c.U[m] * c.U[n] + G01 * (c.U[m] * c.U[3 + n] + c.U[3 + m] * c.U[n]) + G11 * c.U[3 + m] * c.U[3 + n];
    const float* V = f.view;
    float J00 = 0, J02 = 0, J11 = 0, J12 = 0;
    for (int m = 0; m < 3; m++) {
        J00 += gU[m] * V[m];
        J02 += gU[m] * V[8 + m];
        J11 += gU[3 + m] * V[4 + m];
        J12 += gU[3 + m] * V[8 + m];
    }
    const float z = 1 / c.z;
    float g[3] = {gx * f.fx * z, gy * f.fy * z, -(gx * f.fx * c.x + gy * f.fy * c.y) * z * z};
    g[2] -= (J00 * f.fx + J11 * f.fy) * z * z;
    g[2] += (J02 * f.fx * c.u + J12 * f.fy * c.v) * z * z;  // J02 = -fx u / z with u held
    if (!c.clamped_x) { g[0] -= J02 * f.fx * z * z; g[2] += J02 * f.fx * c.u * z * z; }
    if (!c.clamped_y) { g[1] -= J12 * f.fy * z * z; g[2] += J12 * f.fy * c.v * z * z; }
    for (int m = 0; m < 3; m++) g_mean[m] = V[m] * g[0] + V[4 + m] * g[1] + V[8 + m] * g[2];
    // cov = M M^T with M = R diag(scale): dL/dM = 2 H M.
    const float* scale = f.scales + 3 * i;
    float gR[9];
    for (int n = 0; n < 3; n++) {
        const float column[3] = {c.R[n], c.R[3 + n], c.R[6 + n]};
        float h[3];
        times_covariance(H, column, h);
        g_scale[n] = 2 * scale[n] * (h[0] * column[0] + h[1] * column[1] + h[2] * column[2]);
        for (int m = 0; m < 3; m++) gR[3 * m + n] = 2 * scale[n] * scale[n] * h[m];
    }
    const float* quat = f.quats + 4 * i;
    const float w = quat[0] * c.norm, x = quat[1] * c.norm, y = quat[2] * c.norm, u = quat[3] * c.norm;
    const float gq[4] = {
        2 * (x * (gR[7] - gR[5]) + y * (gR[2] - gR[6]) + u * (gR[3] - gR[1])),
        2 * (-2 * x * (gR[4] + gR[8]) + y * (gR[1] + gR[3]) + u * (gR[2] + gR[6]) + w * (gR[7] - gR[5])),
        2 * (x * (gR[1] + gR[3]) - 2 * y * (gR[0] + gR[8]) + u * (gR[5] + gR[7]) + w * (gR[2] - gR[6])),
        2 * (x * (gR[2] + gR[6]) + y * (gR[5] + gR[7]) - 2 * u * (gR[0] + gR[4]) + w * (gR[3] - gR[1])),
    };
    const float along = gq[0] * w + gq[1] * x + gq[2] * y + gq[3] * u;
    g_quat[0] = (gq[0] - along * w) * c.norm;
    g_quat[1] = (gq[1] - along * x) * c.norm;
    g_quat[2] = (gq[2] - along * y) * c.norm;
    g_quat[3] = (gq[3] - along * u) * c.norm;
}

}  // namespace

extern "C" {

Frame* frame_new(int threads) {
    omp_set_num_threads(threads);
    return new Frame();
}

void frame_free(Frame* f) { delete f; }

const double* frame_seconds(const Frame* f) { return f->seconds; }

// Row-major float32 inputs as semaflow.kernels.splat.rasterization takes them, for one camera. All of them, and
// ``image``, must stay where they are until the backward pass is done.
void frame_forward(Frame* frame, int count, const float* means, const float* quats, const float* scales,
                   const float* opacities, const float* colors, const float* viewmat, const float* K, int width,
                   int height, float* image, float* alpha) {
    Frame& f = *frame;
    double start = omp_get_wtime();
    f.count = count; f.width = width; f.height = height;
    f.tiles_x = (width + TILE - 1) / TILE;
    f.tiles_y = (height + TILE - 1) / TILE;
    std::memcpy(f.view, viewmat, sizeof f.view);
    f.fx = K[0]; f.fy = K[4]; f.cx = K[2]; f.cy = K[5];
    f.means = means; f.quats = quats; f.scales = scales; f.opacities = opacities; f.colors = colors;
    f.splats.resize(count);
    f.depth.resize(count);
    f.image = image;
    f.transmittance.resize(size_t(width) * height);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < count; i++) project(f, i);
    double now = omp_get_wtime();
    f.seconds[0] = now - start; start = now;
    bin(f);
    now = omp_get_wtime();
    f.seconds[1] = now - start; start = now;
    const int tiles = f.tiles_x * f.tiles_y;
#pragma omp parallel
    {
        Pairs pairs;
#pragma omp for schedule(dynamic, 1)
        for (int tile = 0; tile < tiles; tile++) {
            if (PLANAR) forward_planar(f, tile);
            else forward_deep(f, tile, pairs);
        }
#pragma omp for schedule(static)
        for (int row = 0; row < height; row++) {
            const size_t at = size_t(row) * width;
            for (int x = 0; x < width; x++) alpha[at + x] = 1 - f.transmittance[at + x];
        }
    }
    f.seconds[2] = omp_get_wtime() - start;
}

void frame_backward(Frame* frame, const float* g_image, const float* g_alpha, float* g_means, float* g_quats,
                    float* g_scales, float* g_opacities, float* g_colors) {
    Frame& f = *frame;
    double start = omp_get_wtime();
    constexpr int STRIDE = GEOMETRY + PADDED;
    f.sums.resize(f.row.size() * STRIDE);
    const int tiles = f.tiles_x * f.tiles_y;
#pragma omp parallel
    {
        Pairs pairs;
#pragma omp for schedule(dynamic, 1)
        for (int tile = 0; tile < tiles; tile++) {
            if (PLANAR) backward_planar(f, tile, g_image, g_alpha);
            else backward_deep(f, tile, g_image, g_alpha, pairs);
        }
    }
    double now = omp_get_wtime();
    f.seconds[3] = now - start; start = now;
    std::memset(g_means, 0, sizeof(float) * 3 * f.count);
    std::memset(g_quats, 0, sizeof(float) * 4 * f.count);
    std::memset(g_scales, 0, sizeof(float) * 3 * f.count);
    std::memset(g_opacities, 0, sizeof(float) * f.count);
    std::memset(g_colors, 0, sizeof(float) * D * f.count);
#pragma omp parallel for schedule(static, 64)
    for (int i = 0; i < f.count; i++) {
        if (f.splats[i].opacity <= 0) continue;
        float S[GEOMETRY] = {}, *color = g_colors + size_t(i) * D;
        for (int row = f.first[i]; row < f.first[i + 1]; row++) {
            const float* sums = &f.sums[size_t(row) * STRIDE];
            for (int n = 0; n < GEOMETRY; n++) S[n] += sums[n];
            for (int c = 0; c < D; c++) color[c] += sums[GEOMETRY + c];
        }
        unproject(f, i, S, g_means + 3 * i, g_quats + 4 * i, g_scales + 3 * i, g_opacities + i);
    }
    f.seconds[4] = omp_get_wtime() - start;
}

}  // extern "C"
