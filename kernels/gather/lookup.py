"""Kernels that look features up where points project, all views and pyramid levels of a point in one pass.

With m00, m01, m10, m11 the cells around a pixel (row, column), wx and wy the weights of the second column and row:
``f = (1-wy) ((1-wx) m00 + wx m01) + wy ((1-wx) m10 + wx m11)``, and of the pixel the adjoint is
``v_u = wx' sum_c v_f ((1-wy)(m01-m00) + wy (m11-m10))``, likewise ``v_v``; the sum runs over channels and levels.
"""

import torch
import warp as wp

from ..cells import GROUP_SUM
from ..once import once
from .native import STORED, build

_FORWARD = r"""
for (int p = begin; p < end; p++) {
    const long long i = (long long)p * views + view;
    const Seen at(points.data + 3 * (moving ? i : p), viewmats.data + 16 * view, Ks.data + 9 * view, near);
    const bool inside = at.inside(width, height);
    if (lane == 0) {
        pixels.data[2 * i] = at.front ? at.u : R(0);
        pixels.data[2 * i + 1] = at.front ? at.v : R(0);
        depth.data[i] = at.finite ? at.z : R(0);
        valid.data[i] = inside;
    }
    R* row_of_features = features.data + i * channels;
    if (!inside) {
        for (int c = lane; c < channels; c += STEP) row_of_features[c] = R(0);
        continue;
    }
    for (int l = 0; l < table.shape[0]; l += 5) {
        const Level level(table.data + l);
        const Pair row(at.v, level.rows, height), column(at.u, level.columns, width);
        const Corners m(level, view, row, column);
        const R w11 = row.weight * column.weight, w10 = row.weight - w11, w01 = column.weight - w11;
        const R w00 = R(1) - row.weight - w01;
        R* __restrict to = row_of_features + level.to;
        for (int c = lane; c < level.channels; c += STEP)
            to[c] = w00 * R(m.m00[c]) + w01 * R(m.m01[c]) + (w10 * R(m.m10[c]) + w11 * R(m.m11[c]));
    }
}
"""

# Adds to v_pixels. Differences come before the sum, which would lose digits where features have a large mean.
_ADJOINT = r"""
for (int p = begin; p < end; p++) {
    const long long i = (long long)p * views + view;
    if (!valid.data[i]) continue;
    const R u = pixels.data[2 * i], v = pixels.data[2 * i + 1];
    R v_u = R(0), v_v = R(0);
    for (int l = 0; l < table.shape[0]; l += 5) {
        const Level level(table.data + l);
        const Pair row(v, level.rows, height), column(u, level.columns, width);
        const Corners m(level, view, row, column);
        const R* g = v_features.data + i * channels + level.to;
        const R wx = column.weight, wy = row.weight;
        R x = R(0), y = R(0);
        {
#if !defined(__CUDA_ARCH__)
            #pragma clang fp reassociate(on)
#endif
            for (int c = lane; c < level.channels; c += STEP) {
                const R m00 = R(m.m00[c]), m01 = R(m.m01[c]), m10 = R(m.m10[c]), m11 = R(m.m11[c]);
                const R above = m01 - m00, below = m11 - m10, left = m10 - m00, right = m11 - m01;
                x += g[c] * (above + wy * (below - above));
                y += g[c] * (left + wx * (right - left));
            }
        }
        v_u += column.slope * x;
        v_v += row.slope * y;
    }
    v_u = sum_of_group(v_u), v_v = sum_of_group(v_v);
    if (lane == 0) {
        v_pixels.data[2 * i] += v_u;
        v_pixels.data[2 * i + 1] += v_v;
    }
}
"""


@once
def lookup_kernels(real, stored: torch.dtype):
    """Kernels ``(forward, adjoint)`` for scalar type ``real`` and maps of dtype ``stored``."""
    reals, marks = wp.array(dtype=real), wp.array(dtype=wp.bool)
    module = f"semaflow_gather_{real.__name__}_{STORED[stored]}"
    image = {"views": int, "width": int, "height": int, "table": wp.array(dtype=wp.int64), "channels": int}
    cameras = {"points": reals, "moving": int, "viewmats": reals, "Ks": reals, "near": real}
    found = {"features": reals, "pixels": reals, "depth": reals, "valid": marks}
    adjoint = {"pixels": reals, "valid": marks, "v_features": reals, "v_pixels": reals}
    return (
        build("look_up", module, real, STORED[stored], _FORWARD, image | cameras | found),
        build("look_up_adjoint", module, real, STORED[stored], GROUP_SUM + _ADJOINT, image | adjoint),
    )
