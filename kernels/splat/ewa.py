"""What the projection of Gaussians and its adjoint share, as Warp functions."""

import warp as wp

from ..once import once
from .constants import FOV_MARGIN


@once
def geometry(real):
    """Functions ``(rotation_of, rotation_from, symmetric, slopes, up)`` for scalar type ``real``."""
    vec3, vec4 = wp.types.vector(3, real), wp.types.vector(4, real)
    mat33, mat44 = wp.types.matrix((3, 3), real), wp.types.matrix((4, 4), real)
    zero, half, one, two = real(0.0), real(0.5), real(1.0), real(2.0)

    @wp.func
    def rotation_of(view: mat44):
        return mat33(
            view[0, 0],
            view[0, 1],
            view[0, 2],
            view[1, 0],
            view[1, 1],
            view[1, 2],
            view[2, 0],
            view[2, 1],
            view[2, 2],
        )

    @wp.func
    def rotation_from(q: vec4):
        """Of a quaternion of any length; not a number for length zero."""
        r = two / wp.dot(q, q)
        w, x, y, z = q[0], q[1], q[2], q[3]
        return mat33(
            one - r * (y * y + z * z),
            r * (x * y - w * z),
            r * (x * z + w * y),
            r * (x * y + w * z),
            one - r * (x * x + z * z),
            r * (y * z - w * x),
            r * (x * z - w * y),
            r * (y * z + w * x),
            one - r * (x * x + y * y),
        )

    @wp.func
    def symmetric(c: wp.array(dtype=real), n: int):
        k = n * 6
        return mat33(c[k], c[k + 1], c[k + 2], c[k + 1], c[k + 3], c[k + 4], c[k + 2], c[k + 4], c[k + 5])

    @wp.func
    def slopes(p: vec3, rz: real, K: mat33, width: real, height: real):
        """x/z and y/z, held constant far outside the image, and 1 where they are not held, 0 where they are."""
        cx, cy, x_per_pixel, y_per_pixel = K[0, 2], K[1, 2], one / K[0, 0], one / K[1, 1]
        margin_x, margin_y = real(FOV_MARGIN) * half * width, real(FOV_MARGIN) * half * height
        u, v = p[0] * rz, p[1] * rz
        cu = wp.clamp(u, -(cx + margin_x) * x_per_pixel, (width - cx + margin_x) * x_per_pixel)
        cv = wp.clamp(v, -(cy + margin_y) * y_per_pixel, (height - cy + margin_y) * y_per_pixel)
        inside_x, inside_y = one, one
        if cu != u:
            inside_x = zero
        if cv != v:
            inside_y = zero
        return vec4(cu, cv, inside_x, inside_y)

    @wp.func
    def up(x: real):
        """The smallest integer not below x, for 0 <= x < 2^31."""
        whole = int(x)
        if real(whole) < x:
            whole += 1
        return whole

    return rotation_of, rotation_from, symmetric, slopes, up
