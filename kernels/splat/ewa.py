"""What the projection of Gaussians and its adjoint share, as Warp functions."""

import functools

import warp as wp

from .constants import FOV_MARGIN


@functools.cache
def geometry(real):
    """Functions ``(rotation_of, rotation_from, symmetric, slopes)`` for scalar type ``real``."""
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
        w, x, y, z = q[0], q[1], q[2], q[3]
        return mat33(
            one - two * (y * y + z * z),
            two * (x * y - w * z),
            two * (x * z + w * y),
            two * (x * y + w * z),
            one - two * (x * x + z * z),
            two * (y * z - w * x),
            two * (x * z - w * y),
            two * (y * z + w * x),
            one - two * (x * x + y * y),
        )

    @wp.func
    def symmetric(c: wp.array(dtype=real), n: int):
        k = n * 6
        return mat33(c[k], c[k + 1], c[k + 2], c[k + 1], c[k + 3], c[k + 4], c[k + 2], c[k + 4], c[k + 5])

    @wp.func
    def slopes(p: vec3, K: mat33, width: real, height: real):
        """dx/dz and dy/dz of a pixel at depth 1, held constant far outside the image; as (tx/z, ty/z, inside x, y)."""
        fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
        margin_x = real(FOV_MARGIN) * half * width / fx
        margin_y = real(FOV_MARGIN) * half * height / fy
        u, v = p[0] / p[2], p[1] / p[2]
        cu = wp.clamp(u, -(cx / fx + margin_x), (width - cx) / fx + margin_x)
        cv = wp.clamp(v, -(cy / fy + margin_y), (height - cy) / fy + margin_y)
        inside_x, inside_y = one, one
        if cu != u:
            inside_x = zero
        if cv != v:
            inside_y = zero
        return vec4(cu, cv, inside_x, inside_y)

    return rotation_of, rotation_from, symmetric, slopes
