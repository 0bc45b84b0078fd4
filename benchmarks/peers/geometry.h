// Projection of Gaussians into the camera, and its adjoint.
//
// An image is not continuous in what is projected: it jumps where an opacity crosses 1/255. So the projection rounds as
// semaflow's does: the same float32 expressions, none of them contracted (see FLAGS in compiled.py).

#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "frame.h"

namespace {

struct Camera {  // a Gaussian on its way through the camera, shared by projection and its adjoint
    float R[9], x, y, z, u, v, J00, J02, J11, J12, U[6], cov[6], norm;
    bool clamped_x, clamped_y;
};

// 3D covariance (xx xy xz yy yz zz) of a quaternion (wxyz) and standard deviations.
void covariance(const float* q, const float* s, float* R, float* cov, float& norm) {
    const float w = q[0], x = q[1], y = q[2], z = q[3], square = w * w + x * x + y * y + z * z, r = 2 / square;
    norm = 1.0f / std::sqrt(square);
    R[0] = 1 - r * (y * y + z * z); R[1] = r * (x * y - w * z); R[2] = r * (x * z + w * y);
    R[3] = r * (x * y + w * z); R[4] = 1 - r * (x * x + z * z); R[5] = r * (y * z - w * x);
    R[6] = r * (x * z - w * y); R[7] = r * (y * z + w * x); R[8] = 1 - r * (x * x + y * y);
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

inline float dot(const float* a, const float* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

// Fills the camera-space quantities of Gaussian i; false if it lies before the near plane.
bool enter(const Frame& f, int i, Camera& c) {
    const float *V = f.view, *m = f.means + 3 * i;
    c.x = V[0] * m[0] + V[1] * m[1] + V[2] * m[2] + V[3];
    c.y = V[4] * m[0] + V[5] * m[1] + V[6] * m[2] + V[7];
    c.z = V[8] * m[0] + V[9] * m[1] + V[10] * m[2] + V[11];
    if (!(c.z >= NEAR)) return false;
    covariance(f.quats + 4 * i, f.scales + 3 * i, c.R, c.cov, c.norm);
    const float r = 1.0f / c.z, mx = 0.15f * f.width, my = 0.15f * f.height, per_fx = 1 / f.fx, per_fy = 1 / f.fy;
    const float u = c.x * r, v = c.y * r;
    c.u = std::clamp(u, -(f.cx + mx) * per_fx, (f.width - f.cx + mx) * per_fx);
    c.v = std::clamp(v, -(f.cy + my) * per_fy, (f.height - f.cy + my) * per_fy);
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
    const float* scale = f.scales + 3 * i;
    float p[3], q[3];  // the rows of J W R S, whose products are the image covariance
    for (int k = 0; k < 3; k++) {
        p[k] = (c.U[0] * c.R[k] + c.U[1] * c.R[3 + k] + c.U[2] * c.R[6 + k]) * scale[k];
        q[k] = (c.U[3] * c.R[k] + c.U[4] * c.R[3 + k] + c.U[5] * c.R[6 + k]) * scale[k];
    }
    const float a = dot(p, p) + BLUR, b = dot(p, q), d = dot(q, q) + BLUR;
    const float det = a * d - b * b;
    if (!(det > 0)) return false;
    const float r = 1 / c.z, inverse = 1 / det;
    s.x = f.fx * c.x * r + f.cx;
    s.y = f.fy * c.y * r + f.cy;
    s.A = d * inverse; s.B = -b * inverse; s.C = a * inverse;
    s.reach = 2 * std::log(255 * o);
    s.half = std::sqrt(s.reach * d);
    const float half_width = std::sqrt(s.reach * a);
    if (s.x + half_width <= 0 || s.x - half_width >= f.width || s.y + s.half <= 0 || s.y - s.half >= f.height)
        return false;
    s.opacity = o;
    s.log2_opacity = LOG2E * float(std::log(double(o)));
    f.depth[i] = c.z;
    if (PLANAR) std::memcpy(s.color, f.colors + size_t(i) * D, sizeof(float) * (PLANAR ? D : 1));
    return true;
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
