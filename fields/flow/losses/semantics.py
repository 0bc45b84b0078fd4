"""Losses of class logits: cross-entropy, where a pixel is labelled."""

from __future__ import annotations

import torch
from torch import Tensor

from .context import Context


def entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Mean cross-entropy of logits [R, C] where ``label`` [R] is known, at least 0; 0 where none is."""
    known = label >= 0
    if not known.any():
        return logits.sum() * 0
    return torch.nn.functional.cross_entropy(logits[known], label[known])


def static(c: Context) -> Tensor:
    """Of the static branch on pixels at rest."""
    label = torch.where(c.batch.moving, torch.full_like(c.batch.label, -1), c.batch.label)
    return entropy(c.traced.layers.static.values["logits"], label)


def full(c: Context) -> Tensor:
    """Of the joint rendering."""
    return entropy(c.traced.layers.full.values["logits"], c.batch.label)


def dynamic(c: Context) -> Tensor:
    """Of the dynamic branch alone, over all rays."""
    return entropy(c.traced.layers.dynamic.values["logits"], c.batch.label)


def warped(c: Context) -> Tensor:
    """Semantic consistency: of the renderings warped to the neighbouring frames, by this frame's labels."""
    return sum(
        (entropy(c.over_rays(warp.weights, warp.radiance.logits), c.batch.label) for warp in c.warped.values()),
        c.nothing,
    )
