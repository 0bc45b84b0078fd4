"""Gaussians to image space: the perspective (or orthographic) projection of means and covariances.

Zwicker et al. 2001 (EWA splatting) as used by 3D Gaussian Splatting (Kerbl et al. 2023). With W the rotation of the
camera, J the Jacobian of the projection at the mean and g_i = W^T J_i its rows in the world, the 2D covariance has
entries g_i . S g_j. One thread handles one Gaussian in one camera.
"""

import warp as wp

from ..once import once
from .constants import ALPHA_MIN, EXTENT_SLACK, TILE
from .ewa import geometry
from .harmonics import harmonics


@once
def projection(real, degree: int, ortho: bool, antialiased: bool, covars_given: bool):
    """The kernel for scalar type ``real``; ``degree`` is that of the spherical harmonics, -1 where colours are not made
    here."""
    vec2, vec3, vec4 = (wp.types.vector(n, real) for n in (2, 3, 4))
    mat33, mat44 = wp.types.matrix((3, 3), real), wp.types.matrix((4, 4), real)
    count = (degree + 1) ** 2 if degree >= 0 else 1
    rotation_of, rotation_from, symmetric, slopes, up = geometry(real)
    basis, _ = harmonics(real, max(degree, 0))
    colored = degree >= 0
    module = f"semaflow_projection_{real.__name__}_{degree}_{ortho:d}{antialiased:d}{covars_given:d}"
    zero, half, one, two = real(0.0), real(0.5), real(1.0), real(2.0)

    @wp.func
    def is_finite(x: real, y: real, z: real):
        # An infinity less itself is no number; wp.isfinite is a call on the CPU.
        return (x - x) + (y - y) + (z - z) == zero

    @wp.kernel(module=module, enable_backward=False)
    def project(
        means: wp.array(dtype=vec3),
        quats: wp.array(dtype=vec4),
        scales: wp.array(dtype=vec3),
        covars: wp.array(dtype=real),
        opacities: wp.array(dtype=real),
        usable: wp.array(dtype=wp.bool),
        sh: wp.array(dtype=vec3),
        sh_count: int,
        sh_per_camera: int,
        views: wp.array(dtype=mat44),
        Ks: wp.array(dtype=mat33),
        eyes: wp.array(dtype=vec3),
        width: int,
        height: int,
        near: real,
        far: real,
        radius_clip: real,
        eps2d: real,
        means2d: wp.array(dtype=vec2),
        depths: wp.array(dtype=real),
        conics: wp.array(dtype=vec3),
        alphas: wp.array(dtype=real),
        radii: wp.array(dtype=wp.vec2i),
        boxes: wp.array(dtype=wp.vec4i),
        colors: wp.array(dtype=vec3),
        first: int,
    ):
        i = wp.tid() + first
        total = means.shape[0]
        camera = i // total
        n = i - camera * total
        means2d[i] = vec2()
        depths[i] = zero
        conics[i] = vec3()
        alphas[i] = zero
        radii[i] = wp.vec2i()
        boxes[i] = wp.vec4i()
        if wp.static(colored):
            colors[i] = vec3()
        if usable.shape[0] > 0:
            row = n
            if usable.shape[0] > total:
                row = i
            if not usable[row]:
                return

        view, K = views[camera], Ks[camera]
        m = means[n]
        W = rotation_of(view)
        p = W * m + vec3(view[0, 3], view[1, 3], view[2, 3])
        if not (p[2] >= near and p[2] <= far):
            return
        w, h = real(width), real(height)
        fx, fy = K[0, 0], K[1, 1]
        j0, j1 = vec3(fx, zero, zero), vec3(zero, fy, zero)
        center = vec2(fx * p[0] + K[0, 2], fy * p[1] + K[1, 2])
        if wp.static(not ortho):
            rz = one / p[2]
            t = slopes(p, rz, K, w, h)
            j0 = vec3(fx * rz, zero, -fx * t[0] * rz)
            j1 = vec3(zero, fy * rz, -fy * t[1] * rz)
            center = vec2(fx * p[0] * rz + K[0, 2], fy * p[1] * rz + K[1, 2])
        g0, g1 = j0 * W, j1 * W

        a, b, c = zero, zero, zero
        if wp.static(covars_given):
            S = symmetric(covars, n)
            h0, h1 = S * g0, S * g1
            a, b, c = wp.dot(g0, h0), wp.dot(g0, h1), wp.dot(g1, h1)
        else:
            q = quats[n]
            R = rotation_from(q)
            s = scales[n]
            u0, u1 = wp.cw_mul(g0 * R, s), wp.cw_mul(g1 * R, s)
            a, b, c = wp.dot(u0, u0), wp.dot(u0, u1), wp.dot(u1, u1)
        det_sharp = a * c - b * b
        a += eps2d
        c += eps2d
        det = a * c - b * b
        alpha = opacities[n]
        if wp.static(antialiased):
            alpha = alpha * wp.sqrt(wp.max(det_sharp / det, zero))
        scale = one / det
        A, B, C = c * scale, -b * scale, a * scale
        if not (det > zero and is_finite(A, B, C) and is_finite(a, c, alpha)):
            return
        if not (alpha >= real(ALPHA_MIN)):
            return
        reach = two * wp.log(alpha * real(wp.static(1.0 / ALPHA_MIN)))
        huge = real(1.0e9)
        rx, ry = wp.min(wp.sqrt(reach * a), huge), wp.min(wp.sqrt(reach * c), huge)
        radius = wp.vec2i(wp.max(up(rx), 1), wp.max(up(ry), 1))
        wide, high = real(radius[0]), real(radius[1])
        if not (wide > radius_clip or high > radius_clip):
            return
        x, y = center[0], center[1]
        if not (x + wide > zero and x - wide < w and y + high > zero and y - high < h):
            return
        color = vec3()
        if wp.static(colored):
            d = m - eyes[camera]
            d = d / wp.max(wp.length(d), real(1e-20))
            Y = basis(d)
            at = n * sh_count
            if sh_per_camera != 0:
                at = i * sh_count
            for k in range(wp.static(count)):
                color += Y[k] * sh[at + k]
            color += vec3(half, half, half)
            if not is_finite(color[0], color[1], color[2]):
                return
            colors[i] = vec3(wp.max(color[0], zero), wp.max(color[1], zero), wp.max(color[2], zero))
        means2d[i] = center
        depths[i] = p[2]
        conics[i] = vec3(A, B, C)
        alphas[i] = alpha
        radii[i] = radius
        # Tiles holding a pixel centre within the ellipse's extent: x0 <= tile < x1, y0 <= tile < y1.
        rx += real(EXTENT_SLACK)
        ry += real(EXTENT_SLACK)
        x0, y0 = up(wp.max(x - rx - half, zero)), up(wp.max(y - ry - half, zero))
        right, below = wp.min(x + rx - half, w - one), wp.min(y + ry - half, h - one)
        x1, y1 = int(right), int(below)
        if right >= zero and below >= zero and x0 <= x1 and y0 <= y1:
            boxes[i] = wp.vec4i(x0 // TILE, y0 // TILE, x1 // TILE + 1, y1 // TILE + 1)

    return project
