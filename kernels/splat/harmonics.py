"""Real spherical harmonics to degree 3, as Warp functions, in the sign convention of 3D Gaussian Splatting."""

import warp as wp

from ..once import once

C0 = 0.28209479177387814
C1 = 0.4886025119029199
C20, C21, C22 = 1.0925484305920792, 0.31539156525252005, 0.5462742152960396
C30, C31, C32 = 0.5900435899266435, 2.890611442640554, 0.4570457994644658
C33, C34 = 0.3731763325901154, 1.445305721320277


@once
def harmonics(real, degree: int):
    """Two Warp functions for scalar type ``real``: ``basis(direction)`` gives the (degree+1)^2 basis values at a unit
    vector; ``slope(direction, weights)`` the gradient of ``sum(weights * basis)`` with respect to its x, y, z."""
    count = (degree + 1) ** 2
    vec3 = wp.types.vector(3, real)
    vecn = wp.types.vector(count, real)
    second = degree >= 2
    first = degree >= 1
    third = degree >= 3

    @wp.func
    def basis(d: vec3):
        x, y, z = d[0], d[1], d[2]
        b = vecn()
        b[0] = real(C0)
        if wp.static(first):
            b[1] = -real(C1) * y
            b[2] = real(C1) * z
            b[3] = -real(C1) * x
        if wp.static(second):
            b[4] = real(C20) * x * y
            b[5] = -real(C20) * y * z
            b[6] = real(C21) * (real(3.0) * z * z - real(1.0))
            b[7] = -real(C20) * x * z
            b[8] = real(C22) * (x * x - y * y)
        if wp.static(third):
            b[9] = -real(C30) * y * (real(3.0) * x * x - y * y)
            b[10] = real(C31) * x * y * z
            b[11] = -real(C32) * y * (real(5.0) * z * z - real(1.0))
            b[12] = real(C33) * z * (real(5.0) * z * z - real(3.0))
            b[13] = -real(C32) * x * (real(5.0) * z * z - real(1.0))
            b[14] = real(C34) * z * (x * x - y * y)
            b[15] = -real(C30) * x * (x * x - real(3.0) * y * y)
        return b

    @wp.func
    def slope(d: vec3, w: vecn):
        x, y, z = d[0], d[1], d[2]
        gx, gy, gz = real(0.0), real(0.0), real(0.0)
        if wp.static(first):
            gx -= real(C1) * w[3]
            gy -= real(C1) * w[1]
            gz += real(C1) * w[2]
        if wp.static(second):
            gx += real(C20) * (y * w[4] - z * w[7] + x * w[8])
            gy += real(C20) * (x * w[4] - z * w[5] - y * w[8])
            gz += real(wp.static(6.0 * C21)) * z * w[6] - real(C20) * (y * w[5] + x * w[7])
        if wp.static(third):
            ring = real(3.0) * (x * x - y * y)
            belt = real(C32) * (real(5.0) * z * z - real(1.0))
            gx += (
                -real(wp.static(6.0 * C30)) * x * y * w[9]
                + real(C31) * y * z * w[10]
                - belt * w[13]
                + real(wp.static(2.0 * C34)) * x * z * w[14]
                - real(C30) * ring * w[15]
            )
            gy += (
                -real(C30) * ring * w[9]
                + real(C31) * x * z * w[10]
                - belt * w[11]
                - real(wp.static(2.0 * C34)) * y * z * w[14]
                + real(wp.static(6.0 * C30)) * x * y * w[15]
            )
            gz += (
                real(C31) * x * y * w[10]
                - real(wp.static(10.0 * C32)) * z * (y * w[11] + x * w[13])
                + real(wp.static(3.0 * C33)) * (real(5.0) * z * z - real(1.0)) * w[12]
                + real(C34) * (x * x - y * y) * w[14]
            )
        return vec3(gx, gy, gz)

    return basis, slope
