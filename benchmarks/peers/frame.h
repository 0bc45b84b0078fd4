// What the C++ rasterizer works with: eight-wide vectors, projected Gaussians, a frame's state.

#pragma once

#include <immintrin.h>
#include <omp.h>

#include <cstdint>
#include <vector>

#ifndef __AVX2__
#error "this rasterizer needs AVX2"
#endif
#ifndef CHANNELS
#define CHANNELS 3
#endif

namespace splat {

constexpr int D = CHANNELS;
constexpr bool PLANAR = D <= 16;            // vectors over pixels, else over channels
constexpr int TILE = 16, PIXELS = TILE * TILE;
constexpr int CHUNK = 32;                  // channels handled at once when vectors run over channels
constexpr int PADDED = PLANAR ? D : (D + CHUNK - 1) / CHUNK * CHUNK;
constexpr int GEOMETRY = 6;                // S0, S0y, S0yy, S1, S1y, S2: see backward_planar
constexpr float ALPHA_MAX = 0.999f, ALPHA_MIN = 1.0f / 255.0f, T_MIN = 1e-4f, BLUR = 0.3f, NEAR = 0.01f;
constexpr float LOG2E = 1.44269504f;

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

struct Frame {
    int threads, count, width, height, tiles_x, tiles_y;
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

// As many threads while it lives. The runtime is torch's too, which goes on with as many as it had.
struct Threads {
    const int before = omp_get_max_threads();
    explicit Threads(int now) { omp_set_num_threads(now); }
    ~Threads() { omp_set_num_threads(before); }
};

}  // namespace splat

using namespace splat;
