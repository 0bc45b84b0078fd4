"""Sampling as a differentiable function of torch: which kernels run on which memory."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .. import bridge
from ..bridge import flat
from ..cells import deal
from .lookup import lookup_kernels
from .maps_adjoint import atomic, banded
from .projection import BLOCK, CAMERA, projection_adjoint

BAND = 16  # rows of a map whose gradient is one task, at most


class Settings(NamedTuple):
    """How to look."""

    width: int  # of the images that the cameras' Ks are for
    height: int
    near: float
    moving: bool  # points are [P, V, 3], one for each view


def _table(maps: tuple[Tensor, ...]) -> Tensor:
    """Where the levels [V, h, w, C] lie: address, h, w, C, first of its channels in the features."""
    rows, first = [], 0
    for level in maps:
        rows.append([level.data_ptr(), *level.shape[1:], first])
        first += level.shape[3]
    return torch.tensor(rows, dtype=torch.int64, device=maps[0].device).view(-1)


class Sample(torch.autograd.Function):
    """``(features [P, V, C], pixels [P, V, 2], depth [P, V], valid [P, V])`` of maps [V, h, w, C_l], contiguous."""

    @staticmethod
    def forward(ctx, points, viewmats, Ks, settings: Settings, *maps):
        views, count = len(viewmats), len(points)
        channels = sum(level.shape[3] for level in maps)
        features = bridge.empty(points, count, views, channels)
        pixels, depth = points.new_empty(count, views, 2), points.new_empty(count, views)
        valid = torch.empty(count, views, dtype=torch.bool, device=points.device)
        s = settings
        groups, dealt = deal(points, count, views, channels)
        bridge.launch(
            lookup_kernels(bridge.REAL[points.dtype], maps[0].dtype)[0],
            groups,
            [
                *dealt, views, s.width, s.height, flat(_table(maps)), channels, flat(points), s.moving,
                flat(viewmats), flat(Ks), s.near, *map(flat, (features, pixels, depth, valid)),
            ],
            points,
            grain=1,
        )  # fmt: skip
        ctx.save_for_backward(points, viewmats, Ks, pixels, valid, *maps)
        ctx.settings = settings
        ctx.mark_non_differentiable(valid)
        ctx.set_materialize_grads(False)
        return features, pixels, depth, valid

    @staticmethod
    @once_differentiable
    def backward(ctx, v_features, v_pixels, v_depth, _):
        points, viewmats, Ks, pixels, valid, *maps = ctx.saved_tensors
        s, needs = ctx.settings, ctx.needs_input_grad
        grads = [None] * 3
        v_maps = [None] * len(maps)
        if v_features is not None:
            v_features = v_features.contiguous()
            first = 0
            for i, level in enumerate(maps):
                if needs[4 + i]:
                    v_maps[i] = _maps_adjoint(s, level, first, pixels, valid, v_features)
                first += level.shape[3]
        if any(needs[:3]):
            v_pixels = torch.zeros_like(pixels) if v_pixels is None else torch.empty_like(pixels).copy_(v_pixels)
            v_depth = pixels.new_zeros(valid.shape) if v_depth is None else v_depth.contiguous()
            if v_features is not None:
                _lookup_adjoint(s, maps, pixels, valid, v_features, v_pixels)
            grads = _projection_adjoint(s, points, viewmats, Ks, v_pixels, v_depth)
        return *grads, None, *v_maps


def _lookup_adjoint(s: Settings, maps, pixels: Tensor, valid: Tensor, v_features: Tensor, v_pixels: Tensor) -> None:
    """Add the gradient of features to that of pixels."""
    channels = v_features.shape[2]
    groups, dealt = deal(pixels, *valid.shape, channels)
    known = map(flat, (pixels, valid, v_features, v_pixels))
    arguments = [*dealt, valid.shape[1], s.width, s.height, flat(_table(maps)), channels, *known]
    kernel = lookup_kernels(bridge.REAL[pixels.dtype], maps[0].dtype)[1]
    bridge.launch(kernel, groups, arguments, pixels, grain=1)


def _projection_adjoint(s: Settings, points, viewmats, Ks, v_pixels, v_depth) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of points, viewmats and Ks."""
    count, views = v_depth.shape
    v_points = torch.zeros_like(points)
    blocks = -(-count // BLOCK)
    v_cameras = points.new_empty(blocks, views, CAMERA)
    arguments = [count, views, flat(points), s.moving, flat(viewmats), flat(Ks), s.near]
    gradients = map(flat, (v_pixels, v_depth, v_points, v_cameras))
    kernel = projection_adjoint(bridge.REAL[points.dtype])
    bridge.launch(kernel, blocks, [*arguments, *gradients], points, grain=8)
    sums = v_cameras.sum(0, dtype=torch.float64).to(points.dtype)
    v_viewmats, v_Ks = torch.zeros_like(viewmats), torch.zeros_like(Ks)
    v_viewmats[:, :3] = sums[:, :12].view(views, 3, 4)
    v_Ks[:, :2] = sums[:, 12:].view(views, 2, 3)
    return v_points, v_viewmats, v_Ks


def _maps_adjoint(s: Settings, level: Tensor, first: int, pixels: Tensor, valid: Tensor, v_features: Tensor) -> Tensor:
    """Gradient of one level, whose channels begin at ``first`` in the features."""
    real = bridge.REAL[pixels.dtype]
    count, views = valid.shape
    channels = v_features.shape[2]
    rows, columns, depth = level.shape[1:]
    shape = [views, s.width, s.height, channels, first, rows, columns, depth]
    v_map = bridge.empty(pixels, *level.shape)
    known = list(map(flat, (pixels, valid, v_features, v_map)))
    if pixels.is_cuda:
        groups, dealt = deal(pixels, count, views, depth)
        v_map.zero_()
        bridge.launch(atomic(real), groups, [*dealt, *shape, *known], pixels)
    else:
        sort, bands = banded(real)
        starts = torch.empty(views, rows + 1, dtype=torch.int32)
        order = torch.empty(views, count, dtype=torch.int32)
        arguments = [*shape, *known, count, flat(starts), flat(order)]
        bridge.launch(sort, views, arguments, pixels, grain=1)
        band = min(max(views * rows // (8 * bridge.threads()), 1), BAND)
        bridge.launch(bands, views * -(-rows // band), [*arguments, band], pixels, grain=1)
    return v_map.to(level.dtype)
