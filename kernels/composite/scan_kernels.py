"""Running sums and products along rays, and their adjoints."""

from ..bridge import ti
from ..once import once
from .loops import RAYS


@once
def scan_kernels(real):
    """Kernels ``(running_sum, running_product, product_adjoint)``."""
    reals = ti.types.ndarray(dtype=real, ndim=1)

    @ti.kernel
    def running_sum(rays: RAYS, spread: ti.i32, x: reals, y: reals, exclusive: ti.i32, backwards: ti.i32):
        for k in range(rays.shape[0] * spread):
            if k % spread == 0:
                ray = k // spread
                first, count = ti.cast(rays[ray, 0], ti.i32), ti.cast(rays[ray, 1], ti.i32)
                total = ti.cast(0.0, ti.f64)
                for j in range(count):
                    i = first + j
                    if backwards:
                        i = first + count - 1 - j
                    value = x[i]  # read first: x and y may be one tensor
                    if exclusive:
                        y[i] = ti.cast(total, real)
                    total += value
                    if not exclusive:
                        y[i] = ti.cast(total, real)

    @ti.kernel
    def running_product(rays: RAYS, spread: ti.i32, x: reals, y: reals, exclusive: ti.i32):
        for k in range(rays.shape[0] * spread):
            if k % spread == 0:
                ray = k // spread
                first, count = ti.cast(rays[ray, 0], ti.i32), ti.cast(rays[ray, 1], ti.i32)
                product = ti.cast(1.0, ti.f64)
                for i in range(first, first + count):
                    value = x[i]
                    if exclusive:
                        y[i] = ti.cast(product, real)
                    product *= value
                    if not exclusive:
                        y[i] = ti.cast(product, real)

    @ti.kernel
    def product_adjoint(rays: RAYS, spread: ti.i32, x: reals, v_y: reals, v_x: reals, exclusive: ti.i32):
        # dL/dx_i is the product before i times what lies behind: sum_k v_k prod_{i<j<=k} x_j, or j<k where exclusive.
        # No division, so that it is right for x = 0 too. v_x holds the product before i in between.
        for k in range(rays.shape[0] * spread):
            if k % spread == 0:
                ray = k // spread
                first, count = ti.cast(rays[ray, 0], ti.i32), ti.cast(rays[ray, 1], ti.i32)
                before = ti.cast(1.0, ti.f64)
                for i in range(first, first + count):
                    v_x[i] = ti.cast(before, real)
                    before *= x[i]
                behind = ti.cast(0.0, ti.f64)
                for j in range(count):
                    i = first + count - 1 - j
                    if exclusive:
                        v_x[i] = ti.cast(v_x[i] * behind, real)
                        behind = v_y[i] + x[i] * behind
                    else:
                        behind += v_y[i]
                        v_x[i] = ti.cast(v_x[i] * behind, real)
                        behind *= x[i]

    return running_sum, running_product, product_adjoint
