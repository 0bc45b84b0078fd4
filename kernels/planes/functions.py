"""Sampling planes as a differentiable function of torch: which kernels run on which memory."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .. import bridge
from ..bridge import flat
from ..cells import SHARE, deal
from .lookup import lookup_kernels
from .planes_adjoint import spread_kernel

BLOCK = 16 << 20  # bytes of gradients that go from one kernel of the adjoint to the other while caches hold them


def on_cuda(like: Tensor) -> bool:
    """Whether kernels made for CUDA devices run."""
    return like.is_cuda


def _table(levels: int, planes: list[Tensor], v_planes: list[Tensor | None], like: Tensor) -> Tensor:
    """Of each level: channels, first of them in the features, cells along space and time, addresses of its planes and of
    their gradients, space before time, 0 for none."""
    rows, first = [], 0
    for i in range(levels):
        of_level, gradients = planes[i::levels], v_planes[i::levels]
        n, channels = of_level[0].shape[2:]
        places = [*(of_level + [None])[:2], *(gradients + [None, None])[:2]]
        rows.append([channels, first, n, of_level[-1].shape[1], *(0 if x is None else x.data_ptr() for x in places)])
        first += channels
    return torch.tensor(rows, dtype=torch.int64, device=like.device).view(-1)


class SamplePlanes(torch.autograd.Function):
    """Features [P, C] at places [P, D]; planes are those of space of all ``levels``, then those of time, contiguous."""

    @staticmethod
    def forward(ctx, places: Tensor, levels: int, *planes: Tensor):
        count, channels = len(places), sum(x.shape[3] for x in planes[:levels])
        features = bridge.empty(places, count, channels)
        kernel = lookup_kernels(bridge.REAL[places.dtype], places.shape[1], on_cuda(places))[0]
        groups, dealt = deal(places, count, 1, channels)
        known = [*dealt, flat(_table(levels, list(planes), [], places)), levels, channels]
        bridge.launch(kernel, groups, [*known, flat(places), flat(features)], places, grain=1)
        ctx.save_for_backward(places, *planes)
        ctx.levels = levels
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx, v_features: Tensor):
        places, *planes = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        v_places = torch.empty_like(places) if wanted[0] else None
        v_planes = [
            bridge.empty(x, *x.shape).zero_() if want else None for x, want in zip(planes, wanted[2:], strict=True)
        ]
        table = _table(ctx.levels, planes, v_planes, places)
        adjoint = _adjoint_cuda if on_cuda(places) else _adjoint_cpu
        adjoint(table, ctx.levels, any(wanted[2:]), places, v_features.contiguous(), v_places)
        return v_places, None, *v_planes


def _launch_adjoint(table: Tensor, levels: int, places: Tensor, v_features: Tensor, v_places, *more) -> None:
    count, channels = v_features.shape
    kernel = lookup_kernels(bridge.REAL[places.dtype], places.shape[1], on_cuda(places))[1]
    groups, dealt = deal(places, count, 1, channels)
    arguments = [*dealt, flat(table), levels, channels, flat(places), flat(v_features), flat(v_places), *more]
    bridge.launch(kernel, groups, arguments, places, grain=1)


def _adjoint_cuda(table: Tensor, levels: int, spread: bool, places: Tensor, v_features: Tensor, v_places) -> None:
    """Fill ``v_places``, and add to the planes' gradients in the table."""
    _launch_adjoint(table, levels, places, v_features, v_places)


def _adjoint_cpu(table: Tensor, levels: int, spread: bool, places: Tensor, v_features: Tensor, v_places) -> None:
    """The same by blocks of points: gradients on each plane first, which are then spread over cells if any ``spread``."""
    (count, dims), channels = places.shape, v_features.shape[1]
    planes = 6 if dims == 4 else 3
    row = planes * channels
    block = max(BLOCK // (row * places.element_size()), SHARE) if spread else max(count, 1)
    rows = bridge.empty(places, min(block, count), row) if spread else None
    for first in range(0, count, block):
        part = slice(first, first + block)
        v_part = None if v_places is None else v_places[part]
        _launch_adjoint(table, levels, places[part], v_features[part], v_part, flat(rows))
        if spread:
            arguments = [len(places[part]), flat(table), flat(places[part]), flat(rows)]
            kernel = spread_kernel(bridge.REAL[places.dtype], dims)
            bridge.launch(kernel, levels * planes, arguments, places, grain=1)
