"""A Taichi kernel for tests of the bridge."""

from semaflow.kernels.bridge import ti


@ti.kernel
def add(x: ti.types.ndarray(dtype=ti.f32, ndim=1), amount: float):
    for i in range(x.shape[0]):
        x[i] += amount
