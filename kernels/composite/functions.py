"""The kernels as differentiable functions of torch. All samples here are flat, [N], with the rays they belong to."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .. import bridge
from .accumulate_cpu import accumulate_cpu, accumulate_cpu_adjoint
from .accumulate_cuda import accumulate_cuda, accumulate_cuda_adjoint
from .blend_kernels import SUMS, blend_kernels
from .loops import or_nothing, spread, taichi_real
from .rays import Rays
from .scan_kernels import scan_kernels
from .weights_cpu import weights_cpu, weights_cpu_adjoint
from .weights_cuda import weights_cuda, weights_cuda_adjoint


def _detached(*values: Tensor | None) -> list[Tensor | None]:
    """Values as kernels take them."""
    return [None if value is None else value.detach().contiguous() for value in values]


class Sum(torch.autograd.Function):
    """Running sum along rays."""

    @staticmethod
    def forward(ctx, x: Tensor, rays: Rays, exclusive: bool):
        ctx.rays, ctx.exclusive = rays, exclusive
        return Sum.scan(x.detach(), rays, exclusive, backwards=False)

    @staticmethod
    @once_differentiable
    def backward(ctx, v_y):
        return Sum.scan(v_y.contiguous(), ctx.rays, ctx.exclusive, backwards=True), None, None

    @staticmethod
    def scan(x: Tensor, rays: Rays, exclusive: bool, backwards: bool) -> Tensor:
        y = rays.per_sample(x)
        kernel = scan_kernels(taichi_real(x))[0]
        bridge.call(kernel, rays.packed, spread(rays.count, x), x, y, int(exclusive), int(backwards))
        return y


class Product(torch.autograd.Function):
    """Running product along rays."""

    @staticmethod
    def forward(ctx, x: Tensor, rays: Rays, exclusive: bool):
        y = rays.per_sample(x)
        kernel = scan_kernels(taichi_real(x))[1]
        bridge.call(kernel, rays.packed, spread(rays.count, x), x.detach(), y, int(exclusive))
        ctx.save_for_backward(x)
        ctx.rays, ctx.exclusive = rays, exclusive
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, v_y):
        (x,) = ctx.saved_tensors
        v_x = ctx.rays.per_sample(x)
        kernel, some = scan_kernels(taichi_real(x))[2], spread(ctx.rays.count, x)
        bridge.call(kernel, ctx.rays.packed, some, x.detach(), v_y.contiguous(), v_x, int(ctx.exclusive))
        return v_x, None, None


class Weights(torch.autograd.Function):
    """``(weights, trans, alphas or None, sums or None)`` of ``alphas``, or of ``sigmas`` between ``t_starts`` and
    ``t_ends``; ``sums`` [R, 2] are of the weights, and of the weights times the samples' middles."""

    @staticmethod
    def forward(ctx, alphas, sigmas, t_starts, t_ends, rays: Rays, summed: bool):
        density = sigmas is not None
        like = sigmas if density else alphas
        if density:
            alphas = rays.per_sample(like)
        weights, trans = rays.per_sample(like), rays.per_sample(like)
        sums = like.new_empty(rays.count, 2) if summed else None
        compute = weights_cuda if like.is_cuda else weights_cpu
        compute(rays, [*_detached(sigmas, t_starts, t_ends, alphas), weights, trans, sums])
        ctx.save_for_backward(sigmas, t_starts, t_ends, alphas, trans)
        ctx.rays = rays
        ctx.set_materialize_grads(False)
        return weights, trans, alphas if density else None, sums

    @staticmethod
    @once_differentiable
    def backward(ctx, v_weights, v_trans, v_alphas, v_sums):
        sigmas, t_starts, t_ends, alphas, trans = ctx.saved_tensors
        density = sigmas is not None
        v_input = ctx.rays.per_sample(trans)
        v_starts = v_ends = None
        if ctx.needs_input_grad[2] or ctx.needs_input_grad[3]:
            v_starts, v_ends = ctx.rays.per_sample(trans), ctx.rays.per_sample(trans)
        known = _detached(sigmas, t_starts, t_ends, alphas, trans, v_weights, v_trans, v_alphas, v_sums)
        adjoint = weights_cuda_adjoint if trans.is_cuda else weights_cpu_adjoint
        adjoint(ctx.rays, [*known, v_input, v_starts, v_ends])
        return None if density else v_input, v_input if density else None, v_starts, v_ends, None, None


class Accumulate(torch.autograd.Function):
    """Sums [R, D] of ``values`` [N, D] along rays, one for each of the ``weights`` [N]; None for values is ones [N, 1]."""

    @staticmethod
    def forward(ctx, rays: Rays, values, *weights):
        ctx.save_for_backward(values, *weights)
        ctx.rays = rays
        ctx.set_materialize_grads(False)
        accumulate = accumulate_cuda if weights[0].is_cuda else accumulate_cpu
        return tuple(accumulate(rays, values, weights))

    @staticmethod
    @once_differentiable
    def backward(ctx, *v_sums):
        values, *weights = ctx.saved_tensors
        adjoint = accumulate_cuda_adjoint if weights[0].is_cuda else accumulate_cpu_adjoint
        shape = (ctx.rays.count, 1 if values is None else values.shape[1])
        v_sums = [weights[0].new_zeros(shape) if v is None else v.contiguous() for v in v_sums]
        v_values, v_weights = adjoint(
            ctx.rays, values, weights, v_sums, (ctx.needs_input_grad[1], any(ctx.needs_input_grad[2:]))
        )
        return None, v_values, *v_weights


class BlendWeights(torch.autograd.Function):
    """``(joint dynamic, joint static, alone dynamic, alone static, sums [R, 7])`` of :mod:`.blend_kernels`."""

    @staticmethod
    def forward(ctx, dynamic, static, blend, depths, deltas, rays: Rays, stop: float, least: float):
        ctx.save_for_backward(dynamic, static, blend, depths, deltas)
        ctx.rays, ctx.limits = rays, (stop, least)
        weights = [rays.per_sample(blend) for _ in range(4)]
        sums = blend.new_empty(rays.count, SUMS)
        bridge.call(
            blend_kernels(taichi_real(blend))[0], rays.packed, spread(rays.count, blend),
            *or_nothing(blend, dynamic, static, blend, depths, deltas), *weights, sums,
            *ctx.limits, deltas is not None,
        )  # fmt: skip
        ctx.set_materialize_grads(False)
        return *weights, sums

    @staticmethod
    @once_differentiable
    def backward(ctx, *incoming):
        dynamic, static, blend, depths, deltas = ctx.saved_tensors
        *v_weights, v_sums = incoming
        v_sums = blend.new_zeros(ctx.rays.count, SUMS) if v_sums is None else v_sums.contiguous()
        grads = [ctx.rays.per_sample(blend) if i < 3 or ctx.needs_input_grad[i] else None for i in range(5)]
        bridge.call(
            blend_kernels(taichi_real(blend))[1], ctx.rays.packed, spread(ctx.rays.count, blend),
            *or_nothing(blend, dynamic, static, blend, depths, deltas, *v_weights), v_sums,
            *or_nothing(blend, *grads), *ctx.limits, deltas is not None,
        )  # fmt: skip
        return *grads, None, None, None
