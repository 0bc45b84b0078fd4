"""Losses of colour."""

from __future__ import annotations

from torch import Tensor

from .context import Context, mean


def static(c: Context) -> Tensor:
    """Mean squared error of the static branch on pixels at rest."""
    return mean((c.traced.layers.static.values["color"] - c.batch.color).square(), ~c.batch.moving)


def full(c: Context) -> Tensor:
    """Mean squared error of the joint rendering."""
    return (c.traced.layers.full.values["color"] - c.batch.color).square().mean()


def dynamic(c: Context) -> Tensor:
    """Mean squared error of the dynamic branch alone, over all rays."""
    return (c.traced.layers.dynamic.values["color"] - c.batch.color).square().mean()


def warped(c: Context) -> Tensor:
    """The same of the renderings warped to the neighbouring frames (a sum over these)."""
    errors = [
        (c.over_rays(warp.weights, warp.radiance.color) - c.batch.color).square().mean() for warp in c.warped.values()
    ]
    return sum(errors, c.nothing)
