"""Losses of densities, depth and blending."""

from __future__ import annotations

import torch
from torch import Tensor

from .context import Context, mean

LARGEST = 0.3  # relative error of a depth that counts: beyond, a guess is wrong rather than the field


def _apart(weights: Tensor, depths: Tensor, known: Tensor) -> Tensor:
    """Relative distances [R] of all that is seen from a known depth: sum w |z - d| / d. Least where all of a ray's
    weight lies there."""
    error = (depths - known[:, None]).abs() / known[:, None].clamp_min(1e-6)
    return (weights * error.clamp_max(LARGEST)).sum(1)


def static_depth(c: Context) -> Tensor:
    """Of the static branch, on pixels at rest."""
    known = (c.batch.still > 0) & ~c.batch.moving
    return mean(_apart(c.traced.layers.weights.static, c.traced.depths, c.batch.still), known)


def known_depth(c: Context) -> Tensor:
    """Of what moves: of the joint rendering and the dynamic branch alone, on moving pixels whose depth is known."""
    known = (c.batch.depth > 0) & c.batch.moving
    weights = c.traced.layers.weights
    joint = weights.joint_dynamic + weights.joint_static
    return sum(mean(_apart(w, c.traced.depths, c.batch.depth), known) for w in (joint, weights.dynamic))


def _normalised(values: Tensor) -> Tensor:
    away = values - values.median()
    return away / away.abs().mean().clamp_min(1e-6)


def disparity(c: Context) -> Tensor:
    """Mean squared difference of the dynamic branch's inverse depth and the monocular disparity, each less its median
    and over its mean deviation (DynNeRF, in NDC)."""
    layer = c.traced.layers.dynamic
    inverse = 1 / (layer.depths / layer.opacities.clamp_min(1e-3)).clamp_min(float(c.clip.near))
    return (_normalised(inverse[:, 0]) - _normalised(c.batch.disparity)).square().mean()


def order(c: Context) -> Tensor:
    """Mean squared relative difference of the branches' depths on rays at rest."""
    dynamic, static = c.traced.layers.dynamic.depths[:, 0], c.traced.layers.static.depths[:, 0].detach()
    return mean(((dynamic - static) / static.clamp_min(float(c.clip.near))).square().clamp_max(1.0), ~c.batch.moving)


def mask(c: Context) -> Tensor:
    """Mean blend on rays at rest, and mean absolute difference of dynamicness and the motion mask. Nothing where there
    is no static branch to share with."""
    if not c.config.static_field:
        return c.nothing
    blend = c.traced.dynamic.blend.view(c.traced.depths.shape)
    moving = c.batch.moving.to(blend)
    return mean(blend, ~c.batch.moving) + (c.traced.layers.dynamicness[:, 0] - moving).abs().mean()


def mask_warped(c: Context) -> Tensor:
    """Mean blend of the samples moved to the neighbouring frames, on rays at rest."""
    rest = ~c.batch.moving[c.ray]
    terms = (mean(warp.radiance.blend, rest) for warp in c.warped.values())
    return sum(terms, c.nothing)


def sparsity(c: Context) -> Tensor:
    """Entropy of the dynamic branch's weights and binary entropy of blends, summed over a ray's samples, by rays."""
    weights, blend = c.traced.layers.weights.dynamic, c.traced.dynamic.blend
    rays = len(weights)
    own = -(weights * weights.clamp_min(1e-6).log()).sum() / rays
    b = blend.clamp(1e-6, 1 - 1e-6)
    return own - (b * b.log() + (1 - b) * (1 - b).log()).sum() / rays


def depth_blending(c: Context) -> Tensor:
    """On moving rays: mean squared difference of blend times place along the ray (0 near, 1 far, in inverse depth), and
    that place where it is within the thickness of the prior's, 0 elsewhere. The prior is the known depth, or else the
    disparity laid between near and far."""
    near, far = 1 / c.clip.near, 1 / c.clip.far

    def place(inverse: Tensor) -> Tensor:
        return ((near - inverse) / (near - far)).clamp(0, 1)

    if c.batch.depth is not None:
        prior = torch.where(c.batch.depth > 0, place(1 / c.batch.depth.clamp_min(1e-6)), 2.0)
    else:
        lowest, highest = c.batch.disparity.min(), c.batch.disparity.max()
        prior = 1 - (c.batch.disparity - lowest) / (highest - lowest).clamp_min(1e-6)
    z = place(1 / c.traced.depths)
    inside = (z - prior[:, None]).abs() < c.config.thickness
    blend = c.traced.dynamic.blend.view(z.shape)
    return mean((blend * z - torch.where(inside, z, 0.0)).square(), c.batch.moving)
