"""Sums of many channels along rays, on CUDA; :mod:`.accumulate_cpu` has the equations.

Neighbouring threads take neighbouring channels of a ray, so that they touch neighbouring memory. The kernels run on the
CPU too, slowly.
"""

from collections.abc import Sequence

import warp as wp
from torch import Tensor

from .. import bridge
from ..once import once
from .rays import Rays

LANES = wp.constant(32)  # threads that share the samples of a ray, where there is one number per sample


@once
def _kernels(real):
    """Kernels ``(accumulate, values_adjoint, weights_adjoint)``, for one set of weights."""
    module = f"semaflow_accumulate_cuda_{real.__name__}"
    table, reals, matrix = wp.array2d(dtype=wp.int64), wp.array(dtype=real), wp.array2d(dtype=real)

    @wp.kernel(module=module, enable_backward=False)
    def accumulate(rays: table, values: matrix, weights: reals, out: matrix, start: int):
        thread = wp.tid() + start
        ray, d = thread // out.shape[1], thread % out.shape[1]
        first = int(rays[ray, 0])
        total = real(0.0)
        for i in range(first, first + int(rays[ray, 1])):
            if weights[i] != real(0.0):
                total += weights[i] * values[i, d]
        out[ray, d] = total

    @wp.kernel(module=module, enable_backward=False)
    def values_adjoint(rays: table, weights: reals, v_out: matrix, add: bool, v_values: matrix, start: int):
        thread = wp.tid() + start
        ray, d = thread // v_out.shape[1], thread % v_out.shape[1]
        first = int(rays[ray, 0])
        for i in range(first, first + int(rays[ray, 1])):
            v = weights[i] * v_out[ray, d]
            if add:
                v += v_values[i, d]
            v_values[i, d] = v

    @wp.kernel(module=module, enable_backward=False)
    def weights_adjoint(rays: table, values: matrix, v_out: matrix, v_weights: reals, start: int):
        thread = wp.tid() + start
        ray, lane = thread // LANES, thread % LANES
        first = int(rays[ray, 0])
        for i in range(first + lane, first + int(rays[ray, 1]), LANES):
            dot = real(0.0)
            for d in range(v_out.shape[1]):
                dot += values[i, d] * v_out[ray, d]
            v_weights[i] = dot

    return accumulate, values_adjoint, weights_adjoint


def accumulate_cuda(rays: Rays, values: Tensor | None, weights: Sequence[Tensor]) -> list[Tensor]:
    """Sums [R, D] of ``values`` [N, D] for each of the ``weights`` [N]; None for values is ones [N, 1]."""
    like, share = weights[0], bridge.share
    kernel = _kernels(bridge.REAL[like.dtype])[0]
    values = like.new_ones(len(like), 1) if values is None else values
    out = [like.new_empty(rays.count, values.shape[1]) for _ in weights]
    for w, sums in zip(weights, out, strict=True):
        arguments = [share(rays.packed), share(values), share(w), share(sums)]
        bridge.launch(kernel, sums.numel(), arguments, like)
    return out


def accumulate_cuda_adjoint(
    rays: Rays, values: Tensor | None, weights: Sequence[Tensor], v_sums: Sequence[Tensor], want: tuple[bool, bool]
) -> tuple[Tensor | None, list[Tensor | None]]:
    """Gradients of the values and of each of the weights, as far as they are wanted."""
    like, share = weights[0], bridge.share
    _, values_adjoint, weights_adjoint = _kernels(bridge.REAL[like.dtype])
    values = like.new_ones(len(like), 1) if values is None else values
    v_values = rays.per_sample(like, values.shape[1]) if want[0] else None
    v_weights = [rays.per_sample(w) if want[1] else None for w in weights]
    for k, (w, v_out, v_w) in enumerate(zip(weights, v_sums, v_weights, strict=True)):
        if v_values is not None:
            arguments = [share(rays.packed), share(w), share(v_out), k > 0, share(v_values)]
            bridge.launch(values_adjoint, v_out.numel(), arguments, like)
        if v_w is not None:
            arguments = [share(rays.packed), share(values), share(v_out), share(v_w)]
            bridge.launch(weights_adjoint, rays.count * LANES, arguments, like)
    return v_values, v_weights
