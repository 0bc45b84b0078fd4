// Compositing of one tile, and its adjoint.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "frame.h"

namespace {

struct Pairs {  // Gaussian-major list of the contributing pixels of a tile
    std::vector<int> begin, pixel;
    std::vector<float> weight, alpha, dot;
};

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

}  // namespace
