"""Losses of pixels whose depth is known, at single places: of the branch that the stage trains."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from .context import Context
from .semantics import entropy


def likelihood(c: Context) -> Tensor:
    """Mean negative log-likelihood of where the pixels' rays end."""
    return c.nothing if c.surface is None else c.surface.unlikely.mean()


def color(c: Context) -> Tensor:
    """Mean squared error of the colours there."""
    return c.nothing if c.surface is None else (c.surface.radiance.color - c.surface.seen.color).square().mean()


def semantics(c: Context) -> Tensor:
    """Cross-entropy of the logits there, where labelled."""
    return c.nothing if c.surface is None else entropy(c.surface.radiance.logits, c.surface.seen.label)


def blending(c: Context) -> Tensor:
    """Binary cross-entropy of the blend there and the motion masks, and the mean blend on the way there. Nothing
    where there is no static branch to share with."""
    if c.surface is None or not c.config.static_field:
        return c.nothing
    blend = c.surface.radiance.blend.clamp(1e-4, 1 - 1e-4)
    return functional.binary_cross_entropy(blend, c.surface.seen.moving.to(blend)) + c.surface.before.mean()
