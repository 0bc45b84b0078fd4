// A Gaussian rasterizer for one CPU, written for speed: the yardstick of benchmarks/splat.py.
//
// OpenMP over tiles, AVX2 over pixels (few channels) or over channels (many). One camera, pinhole, no background.
// Same image formation as semaflow.kernels.splat. CHANNELS is fixed when compiling.
//
//   project    50k Gaussians to means, conics and exact extents
//   bin        sort by depth once, then one stable counting sort by tile
//   forward    per tile: Gaussians outside, the covered pixels of 8-wide row blocks inside
//   backward   the same front to back; per (tile, Gaussian) one row of sums, no atomics; rows are summed per Gaussian

#include <omp.h>

#include <cstring>

#include "binning.h"
#include "frame.h"
#include "geometry.h"
#include "tiles.h"

extern "C" {

Frame* frame_new(int threads) {
    Frame* frame = new Frame();
    frame->threads = threads;
    return frame;
}

void frame_free(Frame* f) { delete f; }

const double* frame_seconds(const Frame* f) { return f->seconds; }

// Row-major float32 inputs as semaflow.kernels.splat.rasterization takes them, for one camera. All of them, and
// ``image``, must stay where they are until the backward pass is done.
void frame_forward(Frame* frame, int count, const float* means, const float* quats, const float* scales,
                   const float* opacities, const float* colors, const float* viewmat, const float* K, int width,
                   int height, float* image, float* alpha) {
    Frame& f = *frame;
    Threads threads(f.threads);
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
    Threads threads(f.threads);
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
