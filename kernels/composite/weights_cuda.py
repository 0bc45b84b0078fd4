"""Weights of samples along a ray, and their adjoint, on CUDA: a thread takes a ray. The kernels run on the CPU too.

Forward, front to back (Max 1995): ``w_i = T_i alpha_i``, ``T_{i+1} = T_i (1 - alpha_i)``, ``T_0 = 1``.
Backward, back to front, with ``B`` what a unit of transmittance behind sample i is worth:
``dL/dalpha_i = T_i (v_w_i - B_i)``, ``B_{i-1} = v_T_i + v_w_i alpha_i + (1 - alpha_i) B_i``, ``B`` of the last sample 0.
No division, so that it is right for ``alpha = 1`` too. With density, ``alpha = 1 - exp(-sigma delta)``.
"""

from torch import Tensor

from .. import bridge
from ..bridge import ti
from ..once import once
from .loops import RAYS, opacity_functions, or_nothing, spread, taichi_real
from .rays import Rays


@once
def _kernels(real):
    """Kernels ``(composite, adjoint)``; arrays of length zero stand for what is not given or not wanted."""
    reals = ti.types.ndarray(dtype=real, ndim=1)
    sums_type = ti.types.ndarray(dtype=real, ndim=2)
    opacity, decay = opacity_functions(real)

    @ti.kernel
    def composite(
        rays: RAYS,
        spread: ti.i32,
        sigmas: reals,  # [N] or nothing, where alphas are given
        t_starts: reals,  # [N], needed for density or sums
        t_ends: reals,
        alphas: reals,  # [N] in; out where density is given
        weights: reals,  # [N] out
        trans: reals,  # [N] out
        sums: sums_type,  # [R, 2] out: of weights, of weights times the middle of the sample
        density: ti.template(),
        summed: ti.template(),
    ):
        for k in range(rays.shape[0] * spread):
            if k % spread == 0:
                ray = k // spread
                first, count = ti.cast(rays[ray, 0], ti.i32), ti.cast(rays[ray, 1], ti.i32)
                T, total, depth = ti.cast(1.0, ti.f64), ti.cast(0.0, ti.f64), ti.cast(0.0, ti.f64)
                for i in range(first, first + count):
                    if ti.static(density):
                        alphas[i] = opacity(sigmas[i] * (t_ends[i] - t_starts[i]))
                    alpha = ti.cast(alphas[i], ti.f64)
                    trans[i] = ti.cast(T, real)
                    weight = T * alpha
                    weights[i] = ti.cast(weight, real)
                    if ti.static(summed):
                        total += weight
                        depth += weight * (0.5 * (t_starts[i] + t_ends[i]))
                    T *= 1.0 - alpha
                if ti.static(summed):
                    sums[ray, 0] = ti.cast(total, real)
                    sums[ray, 1] = ti.cast(depth, real)

    @ti.kernel
    def adjoint(
        rays: RAYS,
        spread: ti.i32,
        sigmas: reals,
        t_starts: reals,
        t_ends: reals,
        alphas: reals,
        trans: reals,
        v_weights: reals,
        v_trans: reals,
        v_alphas_out: reals,  # where density is given
        v_sums: sums_type,
        v_input: reals,  # [N] out, of sigmas or alphas
        v_starts: reals,  # [N] out, or nothing
        v_ends: reals,
        density: ti.template(),
        summed: ti.template(),
    ):
        for k in range(rays.shape[0] * spread):
            if k % spread == 0:
                ray = k // spread
                first, count = ti.cast(rays[ray, 0], ti.i32), ti.cast(rays[ray, 1], ti.i32)
                v_total, v_depth = ti.cast(0.0, real), ti.cast(0.0, real)
                if ti.static(summed):
                    v_total, v_depth = v_sums[ray, 0], v_sums[ray, 1]
                by_weights, by_trans = v_weights.shape[0] > 0, v_trans.shape[0] > 0
                by_alphas, ends = v_alphas_out.shape[0] > 0, v_ends.shape[0] > 0
                behind = ti.cast(0.0, ti.f64)
                for j in range(count):
                    i = first + count - 1 - j
                    v_weight = ti.cast(0.0, ti.f64)
                    if by_weights:
                        v_weight = ti.cast(v_weights[i], ti.f64)
                    if ti.static(summed):
                        v_weight += v_total + v_depth * (0.5 * (t_starts[i] + t_ends[i]))
                    alpha, v_end = ti.cast(alphas[i], ti.f64), ti.cast(0.0, ti.f64)
                    v_alpha = trans[i] * (v_weight - behind)
                    if ti.static(density):
                        delta = t_ends[i] - t_starts[i]
                        if by_alphas:
                            v_alpha += v_alphas_out[i]
                        v_alpha *= decay(sigmas[i] * delta, alpha)  # dL/d(sigma delta)
                        v_input[i] = ti.cast(v_alpha * delta, real)
                        v_end = v_alpha * sigmas[i]
                    else:
                        v_input[i] = ti.cast(v_alpha, real)
                    if ends:
                        middle = 0.5 * v_depth * trans[i] * alpha
                        v_starts[i] = ti.cast(middle - v_end, real)
                        v_ends[i] = ti.cast(middle + v_end, real)
                    worth = v_weight * alpha
                    if by_trans:
                        worth += v_trans[i]
                    # One multiplication and addition wait for the sample behind; it is what takes the time.
                    behind = (1.0 - alpha) * behind + worth

    return composite, adjoint


def weights_cuda(rays: Rays, arguments: list[Tensor | None]) -> None:
    """Write weights, transmittances and sums of samples.

    Args:
        arguments: sigmas, t_starts, t_ends [N] or None; alphas [N], written where densities are given; and to be
            written weights, trans [N], and sums [R, 2] or None, of the weights and of these times the samples' middles.
    """
    *samples, sums = arguments
    _launch(0, rays, [*or_nothing(arguments[3], *samples), *or_nothing(arguments[3], sums, ndim=2)], sums is not None)


def weights_cuda_adjoint(rays: Rays, arguments: list[Tensor | None]) -> None:
    """Write gradients.

    Args:
        arguments: sigmas, t_starts, t_ends, alphas, trans as above; gradients of weights, trans, alphas (where densities
            are given) and sums, or None; to be written those of sigmas or alphas, and of t_starts and t_ends, or None.
    """
    like, v_sums = arguments[3], arguments[8]
    samples = [or_nothing(like, x, ndim=1 + (k == 8))[0] for k, x in enumerate(arguments)]
    _launch(1, rays, samples, v_sums is not None)


def _launch(which: int, rays: Rays, arguments: list[Tensor], summed: bool) -> None:
    like, density = arguments[3], len(arguments[0]) > 0
    kernel = _kernels(taichi_real(like))[which]
    bridge.call(kernel, rays.packed, spread(rays.count, like), *arguments, density, summed)
