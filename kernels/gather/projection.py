"""Adjoint of the projection: gradients of points and cameras from those of pixels and depths.

With X = W p + t, a = X_x / X_z, b = X_y / X_z, pixel u = K_00 a + K_01 b + K_02 and v = K_10 a + K_11 b + K_12:
``v_a = K_00 v_u + K_10 v_v``, ``v_b`` likewise, ``v_X = (v_a, v_b, -(v_a a + v_b b)) / X_z + (0, 0, v_depth)``,
``v_p = W^T v_X``, ``v_W = v_X p^T``, ``v_t = v_X``.
"""

import warp as wp

from ..once import once
from .native import build

BLOCK = 32  # points whose cameras' gradients one task sums
CAMERA = 18  # scalars of a camera that have a gradient: W and t row by row, then two rows of K

# One task is BLOCK points in all views, view after view.
_ADJOINT = r"""
const long long p0 = (long long)index * BLOCK, p1 = p0 + BLOCK < count ? p0 + BLOCK : count;
for (int view = 0; view < views; view++) {
    const R *W = viewmats.data + 16 * view, *K = Ks.data + 9 * view;
    R sum[CAMERA] = {};
    for (long long p = p0; p < p1; p++) {
        const long long i = p * views + view;
        const R* point = points.data + 3 * (moving ? i : p);
        const Seen at(point, W, K, near);
        if (!at.finite) continue;
        R X[3] = {R(0), R(0), v_depth.data[i]};
        if (at.front) {
            const R gu = v_pixels.data[2 * i], gv = v_pixels.data[2 * i + 1];
            const R ga = K[0] * gu + K[3] * gv, gb = K[1] * gu + K[4] * gv, rz = R(1) / at.z;
            X[0] = ga * rz;
            X[1] = gb * rz;
            X[2] -= (ga * at.a + gb * at.b) * rz;
            const R ray[3] = {at.a, at.b, R(1)};
            for (int j = 0; j < 3; j++) sum[12 + j] += gu * ray[j], sum[15 + j] += gv * ray[j];
        }
        R* v_point = v_points.data + 3 * (moving ? i : p);
        for (int j = 0; j < 3; j++) {
            v_point[j] += W[j] * X[0] + W[4 + j] * X[1] + W[8 + j] * X[2];
            for (int k = 0; k < 3; k++) sum[4 * k + j] += X[k] * point[j];
            sum[4 * j + 3] += X[j];
        }
    }
    R* to = v_cameras.data + ((long long)index * views + view) * CAMERA;
    for (int j = 0; j < CAMERA; j++) to[j] = sum[j];
}
"""


@once
def projection_adjoint(real):
    """The kernel, which adds to ``v_points``; ``v_cameras`` [blocks, V, CAMERA] are to be summed over blocks."""
    reals = wp.array(dtype=real)
    arguments = {"count": int, "views": int, "points": reals, "moving": int, "viewmats": reals, "Ks": reals}
    gradients = {"near": real, "v_pixels": reals, "v_depth": reals, "v_points": reals, "v_cameras": reals}
    source = f"constexpr int BLOCK = {BLOCK}, CAMERA = {CAMERA};\n{_ADJOINT}"
    return build("project_adjoint", f"semaflow_gather_{real.__name__}", real, None, source, arguments | gradients)
