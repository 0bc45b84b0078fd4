// Which Gaussians each tile draws, front to back.

#pragma once

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "frame.h"

namespace {

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

}  // namespace
