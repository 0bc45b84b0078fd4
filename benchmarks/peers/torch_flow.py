"""What a flow field asks of the kernels, in plain torch: compositing by cumprod, lookups by grid_sample, integration by
torchdiffeq."""

from __future__ import annotations

import torch
from semaflow.kernels.composite.static_dynamic import BlendedWeights, Layer, StaticDynamic
from torch import Tensor


def composited(dynamic: Tensor, static: Tensor, blend: Tensor, values_dynamic: dict, values_static: dict,
               depths: Tensor, deltas: Tensor) -> StaticDynamic:
    """:func:`semaflow.kernels.composite.composite_static_dynamic` of batched densities."""
    alpha_d, alpha_s = 1 - torch.exp(-dynamic * deltas), 1 - torch.exp(-static * deltas)
    own_d, own_s = alpha_d * blend, alpha_s * (1 - blend)
    passed = _passed((1 - own_d) * (1 - own_s))
    weights = BlendedWeights(
        passed * own_d, passed * own_s, alpha_d * _passed(1 - alpha_d), alpha_s * _passed(1 - alpha_s)
    )

    def layer(*parts: tuple[Tensor, dict]) -> Layer:
        shown = {name: sum((w[..., None] * v[name]).sum(-2) for w, v in parts) for name in values_dynamic}
        total = sum(w for w, _ in parts)
        return Layer(shown, total.sum(-1, keepdim=True), (total * depths).sum(-1, keepdim=True))

    full = layer((weights[0], values_dynamic), (weights[1], values_static))
    alone = layer((weights[2], values_dynamic)), layer((weights[3], values_static))
    return StaticDynamic(full, *alone, ((weights[0] + weights[1]) * blend).sum(-1, keepdim=True), weights)


def _passed(clear: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(clear[..., :1]), clear[..., :-1].cumprod(-1)], -1)


def looked_up(maps, trajectories: Tensor, viewmats: Tensor, Ks: Tensor, width: int, height: int):
    """:func:`semaflow.kernels.gather.sample_trajectories`, whose features alone are given."""
    levels = maps if isinstance(maps, (list, tuple)) else [maps]
    points = trajectories.transpose(0, 1)  # [T, P, 3]
    local = points @ viewmats[:, :3, :3].mT + viewmats[:, None, :3, 3]
    image = local @ Ks.mT
    depth = local[..., 2:]
    pixels = image[..., :2] / depth.clamp_min(0.01)
    size = pixels.new_tensor([width, height])
    valid = (depth > 0.01) & (pixels >= 0).all(-1, keepdim=True) & (pixels < size).all(-1, keepdim=True)
    grid = (2 * pixels / size - 1)[:, None]
    shown = [
        torch.nn.functional.grid_sample(level.to(grid), grid, padding_mode="border", align_corners=False)
        for level in levels
    ]
    features = torch.cat(shown, 1)[:, :, 0].permute(2, 0, 1) * valid.permute(1, 0, 2)
    return features, pixels.transpose(0, 1), depth[..., 0].T, valid[..., 0].T


def read_planes(places: Tensor, space: list[Tensor], time: list[Tensor] | tuple = ()) -> Tensor:
    """:func:`semaflow.kernels.planes.sample_planes`: the planes of a level and of the same shape in one lookup."""
    features = []
    for i, level in enumerate(space):
        read = [_on_planes(level, places, ((0, 1), (0, 2), (1, 2)))]
        if time:
            read.append(_on_planes(time[i], places, ((0, 3), (1, 3), (2, 3))))
        features.append(torch.cat(read).prod(0))
    return torch.cat(features).T


def _on_planes(planes: Tensor, places: Tensor, pairs) -> Tensor:
    """Values [planes, C, P]."""
    grid = torch.stack([places[:, pair] for pair in pairs])[:, :, None]
    maps = planes.permute(0, 3, 1, 2)
    return torch.nn.functional.grid_sample(maps, grid, padding_mode="border", align_corners=False)[..., 0]


def integrated(points: Tensor, times: Tensor, velocity, method: str, steps: int) -> Tensor:
    """:func:`semaflow.kernels.advect.trajectories` through a network, by torchdiffeq."""
    from torchdiffeq import odeint

    step = float((times[1:] - times[:-1]).abs().min()) / steps
    return odeint(velocity, points, times, method=method, options={"step_size": step}).transpose(0, 1)
