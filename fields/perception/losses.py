"""Losses of a perception field (GP-NeRF, section 3.4), each the mean over what it is asked of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def color_error(color: Tensor, truth: Tensor) -> Tensor:
    """Squared error of colours [R, 3], summed over channels (L_rgb)."""
    return (color - truth).square().sum(-1).mean()


def class_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of scores [B, C, H, W] and labels [B, H, W], over those that are not -1 (L_sem)."""
    known = labels >= 0
    total = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
    return total / known.sum().clamp_min(1)


def distillation(rendered: Tensor, teacher: Tensor) -> Tensor:
    """How far rendered features [R, D] point from those of the target picture [R, D], which stay as they are (L_SD)."""
    return (1 - F.cosine_similarity(rendered, teacher.detach(), dim=-1)).mean()


def guided_distillation(matter: Tensor, teacher: Tensor, depths: Tensor, truth: Tensor, reach: int) -> Tensor:
    """Features of samples that are the matter a pixel shows point as the pixel's do, those of all others do not (L_DG).

    Args:
        matter: [R, M, D] features of samples. teacher: [R, D] of the target picture, which stay as they are.
        depths: [R, M] of samples, ascending. truth: [R] true depth, 0 where unknown: such rays do not count.
        reach: samples from the one nearest to the true depth that are still that matter.
    """
    likeness = F.cosine_similarity(matter, teacher.detach()[:, None], dim=-1)
    here = (depths - truth[:, None]).abs().argmin(1, keepdim=True)
    index = torch.arange(depths.shape[1], device=depths.device)
    loss = torch.where((index - here).abs() < reach, 1 - likeness, likeness.clamp_min(0)).mean(1)
    known = (truth > 0).to(loss)
    return (loss * known).sum() / known.sum().clamp_min(1)


def depth_error(depth: Tensor, truth: Tensor) -> Tensor:
    """Absolute error of the logarithms of depths [R], in any unit, over rays whose true depth is known (above 0)."""
    known = truth > 0
    ratio = torch.where(known, depth / truth.where(known, 1.0), 1.0)
    return ratio.clamp_min(1e-3).log().abs().sum() / known.sum().clamp_min(1)


def depth_likelihood(weights: Tensor, depths: Tensor, truth: Tensor) -> Tensor:
    """How unlikely rays are to end where they truly do: ``-log`` of what the samples on either side of the true depth
    weigh (DS-NeRF, eq. 4, with the rays' own samples in place of a normal distribution), over rays where it is known.

    Args:
        weights: [R, M] of samples. depths: [R, M], ascending. truth: [R] true depth, 0 where unknown.
    """
    known, count = truth > 0, depths.shape[1]
    after = (depths < truth[:, None]).sum(1, keepdim=True).clamp(1, max(1, count - 1))
    index = torch.arange(count, device=depths.device)
    here = (weights * ((index == after) | (index == after - 1))).sum(1)
    return -((here + 1e-3).log() * known).sum() / known.sum().clamp_min(1)
