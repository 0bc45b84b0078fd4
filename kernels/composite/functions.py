"""The kernels as differentiable functions of torch. All samples here are flat, [N], with the rays they belong to."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .. import bridge
from .accumulate_cpu import accumulate_cpu, accumulate_cpu_adjoint
from .accumulate_cuda import accumulate_cuda, accumulate_cuda_adjoint
from .blend_cpu import blend_cpu, blend_cpu_adjoint
from .blend_cuda import blend_cuda, blend_cuda_adjoint
from .loops import spread, taichi_real
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
    """Sums [R, D] of ``values`` [N, D] times ``weights`` [N] along rays; None for values is ones [N, 1]."""

    @staticmethod
    def forward(ctx, rays: Rays, values, weights):
        ctx.save_for_backward(values, weights)
        ctx.rays = rays
        return accumulate_cuda(rays, values, [weights])[0] if weights.is_cuda else accumulate_cpu(rays, values, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx, v_sums):
        values, weights = ctx.saved_tensors
        v_sums, want = v_sums.contiguous(), ctx.needs_input_grad[1:]
        if weights.is_cuda:
            v_values, (v_weights,) = accumulate_cuda_adjoint(ctx.rays, values, [weights], [v_sums], want)
        else:
            v_values, v_weights = accumulate_cpu_adjoint(ctx.rays, values, weights, v_sums, want)
        return None, v_values, v_weights


class Blend(torch.autograd.Function):
    """``(*weights, sums, *layers)`` of :func:`.blend_cuda.blend_cuda`, of its ``samples`` and ``values`` on end."""

    @staticmethod
    def forward(ctx, rays: Rays, limits: tuple[float, float], *inputs):
        samples, values = inputs[:5], inputs[5:]
        compute = blend_cuda if samples[0].is_cuda else blend_cpu
        weights, sums, layers = compute(rays, _detached(*samples), _detached(*values), limits)
        ctx.save_for_backward(*inputs, *weights)
        ctx.rays, ctx.limits = rays, limits
        ctx.shapes = [x.shape for x in (sums, *layers)]
        ctx.set_materialize_grads(False)
        return *weights, sums, *layers

    @staticmethod
    @once_differentiable
    def backward(ctx, *incoming):
        *inputs, w0, w1, w2, w3 = ctx.saved_tensors
        samples, values = _detached(*inputs[:5]), _detached(*inputs[5:])
        v_weights = _detached(*incoming[:4])
        v_sums, *v_layers = [
            w0.new_zeros(shape) if v is None else v.contiguous()
            for v, shape in zip(incoming[4:], ctx.shapes, strict=True)
        ]
        adjoint = blend_cuda_adjoint if w0.is_cuda else blend_cpu_adjoint
        v_samples, v_values = adjoint(
            ctx.rays, samples, values, (w0, w1, w2, w3), ctx.limits, v_weights, v_sums, v_layers,
            ctx.needs_input_grad[2:],
        )  # fmt: skip
        return None, None, *v_samples, *v_values
