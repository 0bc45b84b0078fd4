"""Rays through reference views: where they are asked, what the views show there, and what becomes of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...kernels.gather import sample_views
from ...scenes import Camera
from .. import sampling
from .extractor import Maps
from .network import Aggregation, Seen, Shown
from .views import Views, relative


class References(NamedTuple):
    """V views as a target camera has them before it."""

    images: Tensor  # [V, 3, H, W] in 0..1
    maps: Maps
    viewmats: Tensor  # [V, 4, 4] from the target camera
    Ks: Tensor  # [V, 3, 3]
    near: float
    far: float


class Traced(NamedTuple):
    """What R rays look like, coarse and in the end, at ``depths`` [R, M], and whether any view shows them, [R]."""

    coarse: Shown | None
    fine: Shown
    depths: Tensor
    seen: Tensor


def references(views: Views, chosen: Tensor | slice, maps: Maps, camera: Camera) -> References:
    """The ``chosen`` views, V of them, with their ``maps``, for ``camera``."""
    viewmats = relative(views.viewmats[chosen], camera)
    return References(views.pictures(chosen), maps, viewmats, views.Ks[chosen], float(views.near), float(views.far))


def directions(camera: Camera, pixels: Tensor) -> Tensor:
    """Directions [R, 3] of pixels [R, 2], in the camera, with unit z."""
    ones = torch.ones_like(pixels[:, :1])
    return torch.cat([pixels, ones], -1) @ torch.linalg.inv(camera.K).T.to(pixels)


def trace(network: Aggregation, views: References, ways: Tensor, semantics: bool,
          jitter: torch.Generator | None = None, learned: bool = False) -> Traced:
    """Follow rays from the target camera along ``ways`` [R, 3] (unit z).

    The same network is asked twice: at samples spread evenly in inverse depth, and where they weigh, these and more
    (GP-NeRF, section 4.1). ``semantics``: whether semantic features are rendered. ``jitter``: stratified sampling with
    this generator. ``learned``: whether the first time is to have gradients.
    """
    config, ways = network.config, ways.to(views.viewmats)
    borders = sampling.even(len(ways), config.coarse, jitter, ways)
    with torch.set_grad_enabled(learned and torch.is_grad_enabled()):
        coarse, _, _ = _ask(network, views, ways, borders, False)
    if config.importance:
        more = sampling.again(borders, coarse.weights.detach(), config.importance, jitter)
        borders = torch.cat([borders, more[:, 1:-1]], 1).sort(1).values
    fine, depths, seen = _ask(network, views, ways, borders, semantics)
    return Traced(coarse if learned else None, fine, depths, seen)


def _ask(network: Aggregation, views: References, ways: Tensor, borders: Tensor, semantics: bool):
    """What the network says at samples between ``borders`` [R, M + 1], their depths, and whether a view sees a ray."""
    edges = sampling.depth_at(borders, views.near, views.far, network.config.spacing)
    depths = 0.5 * (edges[:, 1:] + edges[:, :-1])
    points = ways[:, None] * depths[..., None]
    seen = look(views, points, semantics)
    unit = torch.nn.functional.normalize(ways, dim=-1)
    lengths = borders.diff(dim=1) * borders.shape[1]
    shown = network(seen, points / views.far, unit, depths, lengths)
    return shown, depths, seen.valid.flatten(1).any(1)


def look(views: References, points: Tensor, semantics: bool) -> Seen:
    """What ``views`` show at ``points`` [R, M, 3] in the target camera."""
    shape = points.shape[:2]
    height, width = views.images.shape[2:]
    levels = [views.images, views.maps.color] + ([views.maps.semantic] if semantics else [])
    found, _, _, valid = sample_views(levels, points.flatten(0, 1), views.viewmats, views.Ks, width, height)
    found, valid = found.unflatten(0, shape), valid.unflatten(0, shape)
    sizes = [level.shape[1] for level in levels]
    colors, features, *semantic = found.split(sizes, -1)
    return Seen(colors, features, _differences(views.viewmats, points), valid, semantic[0] if semantics else None)


def _differences(viewmats: Tensor, points: Tensor) -> Tensor:
    """How views look at points [R, M, 3] as against the target camera: unit difference of the directions, and their
    product, [R, M, V, 4] (IBRNet, section 3.2)."""
    centers = -(viewmats[:, :3, :3].transpose(1, 2) @ viewmats[:, :3, 3:])[..., 0]
    own = torch.nn.functional.normalize(points, dim=-1)[:, :, None]
    theirs = torch.nn.functional.normalize(points[:, :, None] - centers.to(points), dim=-1)
    difference = torch.nn.functional.normalize(own - theirs, dim=-1)
    return torch.cat([difference, (own * theirs).sum(-1, keepdim=True)], -1)
