"""The adjoint of the projection of Gaussians. One thread handles one Gaussian in all cameras.

Names are those of :mod:`.projection`; ``v_x`` is the gradient with respect to x.
"""

import warp as wp

from ..once import once
from .ewa import geometry
from .harmonics import harmonics


@once
def projection_adjoint(real, degree: int, ortho: bool, antialiased: bool, covars_given: bool):
    """The kernel for scalar type ``real``; ``degree`` is that of the spherical harmonics, -1 where colours are not made
    here."""
    vec2, vec3, vec4 = (wp.types.vector(n, real) for n in (2, 3, 4))
    mat33, mat44 = wp.types.matrix((3, 3), real), wp.types.matrix((4, 4), real)
    count = (degree + 1) ** 2 if degree >= 0 else 1
    vecn = wp.types.vector(count, real)
    rotation_of, rotation_from, symmetric, slopes, _ = geometry(real)
    basis, slope = harmonics(real, max(degree, 0))
    colored = degree >= 0
    module = f"semaflow_projection_adjoint_{real.__name__}_{degree}_{ortho:d}{antialiased:d}{covars_given:d}"
    zero, half, one, two = real(0.0), real(0.5), real(1.0), real(2.0)

    @wp.kernel(module=module, enable_backward=False)
    def adjoint(
        means: wp.array(dtype=vec3),
        quats: wp.array(dtype=vec4),
        scales: wp.array(dtype=vec3),
        covars: wp.array(dtype=real),
        opacities: wp.array(dtype=real),
        sh: wp.array(dtype=vec3),
        sh_count: int,
        sh_per_camera: int,
        views: wp.array(dtype=mat44),
        Ks: wp.array(dtype=mat33),
        eyes: wp.array(dtype=vec3),
        width: int,
        height: int,
        eps2d: real,
        slots: wp.array(dtype=wp.int32),
        v_means2d: wp.array(dtype=vec2),
        v_depths: wp.array(dtype=real),
        v_conics: wp.array(dtype=vec3),
        v_alphas: wp.array(dtype=real),
        v_colors: wp.array(dtype=vec3),
        v_means: wp.array(dtype=vec3),
        v_quats: wp.array(dtype=vec4),
        v_scales: wp.array(dtype=vec3),
        v_covars: wp.array(dtype=real),
        v_opacities: wp.array(dtype=real),
        v_sh: wp.array(dtype=vec3),
        v_views: wp.array(dtype=mat44),
        v_eyes: wp.array(dtype=vec3),
        first: int,
    ):
        n = wp.tid() + first
        total = means.shape[0]
        cameras = views.shape[0]
        v_mean = vec3()
        v_scale = vec3()
        v_opacity = zero
        v_R = mat33()
        v_S = mat33()
        if v_sh.shape[0] > 0 and sh_per_camera == 0:
            for k in range(sh_count):
                v_sh[n * sh_count + k] = vec3()
        m = means[n]
        q = vec4()
        s = vec3()
        R = mat33()
        if wp.static(not covars_given):
            q = quats[n]
            s = scales[n]
            R = rotation_from(q)
        for camera in range(cameras):
            i = camera * total + n
            if v_views.shape[0] > 0:
                v_views[i] = mat44()
                v_eyes[i] = vec3()
            if v_sh.shape[0] > 0 and sh_per_camera != 0:
                for k in range(sh_count):
                    v_sh[i * sh_count + k] = vec3()
            slot = slots[i]
            if slot < 0:
                continue
            view, K = views[camera], Ks[camera]
            W = rotation_of(view)
            p = W * m + vec3(view[0, 3], view[1, 3], view[2, 3])
            w, h = real(width), real(height)
            fx, fy = K[0, 0], K[1, 1]
            rz = one / p[2]
            t = vec4()
            j0, j1 = vec3(fx, zero, zero), vec3(zero, fy, zero)
            if wp.static(not ortho):
                t = slopes(p, rz, K, w, h)
                j0 = vec3(fx * rz, zero, -fx * t[0] * rz)
                j1 = vec3(zero, fy * rz, -fy * t[1] * rz)
            g0, g1 = j0 * W, j1 * W
            h0, h1 = vec3(), vec3()
            k0, k1 = vec3(), vec3()
            u0, u1 = vec3(), vec3()
            S = mat33()
            a, b, c = zero, zero, zero
            if wp.static(covars_given):
                S = symmetric(covars, n)
                h0, h1 = S * g0, S * g1
                a, b, c = wp.dot(g0, h0), wp.dot(g0, h1), wp.dot(g1, h1)
            else:
                k0, k1 = g0 * R, g1 * R
                u0, u1 = wp.cw_mul(k0, s), wp.cw_mul(k1, s)
                a, b, c = wp.dot(u0, u0), wp.dot(u0, u1), wp.dot(u1, u1)
            det_sharp = a * c - b * b
            ae, ce = a + eps2d, c + eps2d
            det = ae * ce - b * b
            scale = one / det
            A, B, C = ce * scale, -b * scale, ae * scale

            # Inverse: v_cov = -X v_X X, with the off-diagonal counted once.
            v_a, v_b, v_c = zero, zero, zero
            if v_conics.shape[0] > 0:
                v = v_conics[slot]
                vB = half * v[1]
                e00, e01 = v[0] * A + vB * B, v[0] * B + vB * C
                e10, e11 = vB * A + v[2] * B, vB * B + v[2] * C
                v_a = -(A * e00 + B * e10)
                v_b = -two * (A * e01 + B * e11)
                v_c = -(B * e01 + C * e11)
            if v_alphas.shape[0] > 0:
                v_alpha = v_alphas[slot]
                if wp.static(antialiased):
                    compensation = wp.sqrt(wp.max(det_sharp / det, zero))
                    v_opacity += v_alpha * compensation
                    if compensation > zero:
                        v_ratio = v_alpha * opacities[n] * half / compensation / (det * det)
                        v_a += v_ratio * (c * det - det_sharp * ce)
                        v_c += v_ratio * (a * det - det_sharp * ae)
                        v_b += v_ratio * two * b * (det_sharp - det)
                else:
                    v_opacity += v_alpha

            v_g0, v_g1 = vec3(), vec3()
            if wp.static(covars_given):
                v_g0 = two * v_a * h0 + v_b * h1
                v_g1 = two * v_c * h1 + v_b * h0
                v_S += wp.outer(g0, v_a * g0 + v_b * g1) + wp.outer(g1, v_c * g1)
            else:
                v_u0 = two * v_a * u0 + v_b * u1
                v_u1 = two * v_c * u1 + v_b * u0
                v_scale += wp.cw_mul(v_u0, k0) + wp.cw_mul(v_u1, k1)
                v_k0, v_k1 = wp.cw_mul(v_u0, s), wp.cw_mul(v_u1, s)
                v_R += wp.outer(g0, v_k0) + wp.outer(g1, v_k1)
                v_g0, v_g1 = R * v_k0, R * v_k1
            v_j0, v_j1 = W * v_g0, W * v_g1

            v_p = vec3()
            if v_means2d.shape[0] > 0:
                v_xy = v_means2d[slot]
                if wp.static(ortho):
                    v_p += vec3(fx * v_xy[0], fy * v_xy[1], zero)
                else:
                    v_p += vec3(
                        fx * rz * v_xy[0],
                        fy * rz * v_xy[1],
                        -(fx * p[0] * v_xy[0] + fy * p[1] * v_xy[1]) * rz * rz,
                    )
            if v_depths.shape[0] > 0:
                v_p += vec3(zero, zero, v_depths[slot])
            if wp.static(not ortho):
                # Where the slope is held at the margin, t stays constant as the mean moves.
                rz2 = rz * rz
                v_p += vec3(
                    -fx * rz2 * v_j0[2] * t[2],
                    -fy * rz2 * v_j1[2] * t[3],
                    rz2
                    * (fx * (t[0] * (one + t[2]) * v_j0[2] - v_j0[0]) + fy * (t[1] * (one + t[3]) * v_j1[2] - v_j1[1])),
                )
            v_mean += v_p * W

            v_eye = vec3()
            if wp.static(colored):
                if v_colors.shape[0] > 0:
                    d = m - eyes[camera]
                    reach = wp.max(wp.length(d), real(1e-20))
                    d = d / reach
                    Y = basis(d)
                    at = n * sh_count
                    if sh_per_camera != 0:
                        at = i * sh_count
                    color = vec3(half, half, half)
                    for k in range(wp.static(count)):
                        color += Y[k] * sh[at + k]
                    v_color = v_colors[slot]
                    for channel in range(3):
                        if color[channel] < zero:
                            v_color[channel] = zero
                    weights = vecn()
                    for k in range(wp.static(count)):
                        weights[k] = wp.dot(sh[at + k], v_color)
                    if v_sh.shape[0] > 0:
                        for k in range(wp.static(count)):
                            v_sh[at + k] = v_sh[at + k] + Y[k] * v_color
                    v_d = slope(d, weights)
                    v_d = (v_d - d * wp.dot(d, v_d)) / reach
                    v_mean += v_d
                    v_eye = -v_d
            if v_views.shape[0] > 0:
                v_W = wp.outer(v_p, m) + wp.outer(j0, v_g0) + wp.outer(j1, v_g1)
                v_views[i] = mat44(
                    v_W[0, 0],
                    v_W[0, 1],
                    v_W[0, 2],
                    v_p[0],
                    v_W[1, 0],
                    v_W[1, 1],
                    v_W[1, 2],
                    v_p[1],
                    v_W[2, 0],
                    v_W[2, 1],
                    v_W[2, 2],
                    v_p[2],
                    zero,
                    zero,
                    zero,
                    zero,
                )
                v_eyes[i] = v_eye

        v_means[n] = v_mean
        v_opacities[n] = v_opacity
        if wp.static(covars_given):
            at6 = n * 6
            v_covars[at6] = v_S[0, 0]
            v_covars[at6 + 1] = v_S[0, 1] + v_S[1, 0]
            v_covars[at6 + 2] = v_S[0, 2] + v_S[2, 0]
            v_covars[at6 + 3] = v_S[1, 1]
            v_covars[at6 + 4] = v_S[1, 2] + v_S[2, 1]
            v_covars[at6 + 5] = v_S[2, 2]
        else:
            v_scales[n] = v_scale
            v_quats[n] = vec4()
            size = wp.length(q)
            if size > zero and size - size == zero:
                q = q / size
                qw, qx, qy, qz = q[0], q[1], q[2], q[3]
                v_q = two * vec4(
                    qx * (v_R[2, 1] - v_R[1, 2]) + qy * (v_R[0, 2] - v_R[2, 0]) + qz * (v_R[1, 0] - v_R[0, 1]),
                    -two * qx * (v_R[1, 1] + v_R[2, 2])
                    + qy * (v_R[1, 0] + v_R[0, 1])
                    + qz * (v_R[2, 0] + v_R[0, 2])
                    + qw * (v_R[2, 1] - v_R[1, 2]),
                    qx * (v_R[1, 0] + v_R[0, 1])
                    - two * qy * (v_R[0, 0] + v_R[2, 2])
                    + qz * (v_R[2, 1] + v_R[1, 2])
                    + qw * (v_R[0, 2] - v_R[2, 0]),
                    qx * (v_R[2, 0] + v_R[0, 2])
                    + qy * (v_R[2, 1] + v_R[1, 2])
                    - two * qz * (v_R[0, 0] + v_R[1, 1])
                    + qw * (v_R[1, 0] - v_R[0, 1]),
                )
                v_quats[n] = (v_q - q * wp.dot(q, v_q)) / size

    return adjoint
