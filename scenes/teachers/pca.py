"""Principal components of features: a small code for a field, three colours for a picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..files import BadInput


@dataclass
class ColorBasis:
    """What turns features into colours: ``mean`` [D], ``axes`` [3, D], the range [3] to show."""

    mean: Tensor
    axes: Tensor
    low: Tensor
    high: Tensor


def principal_axes(features: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean [D] and the ``count`` strongest principal axes [count, D] of ``features`` [N, D].

    Each axis points to where its largest entry is positive, so that repeated runs agree.
    """
    features = features.double()
    mean = features.mean(0)
    centred = features - mean
    _, axes = torch.linalg.eigh(centred.T @ centred / len(features))
    axes = axes.flip(-1).T[:count]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return mean.float(), (axes * torch.where(largest < 0, -1.0, 1.0)).float()


def pca_colors(features: Tensor, basis: ColorBasis | None = None) -> tuple[Tensor, ColorBasis]:
    """Colours [..., 3] in 0..1 of ``features`` [..., D] by principal components, and the basis.

    Each component is stretched between its 2% and 98% quantiles (DGD shows minimum to maximum,
    which one outlier can spoil). Zero and non-finite vectors, where nothing was rendered, stay
    black and take no part. Give the basis of one picture to the next to keep colours over a video.
    """
    flat = features.detach().float().reshape(-1, features.shape[-1])
    shown = torch.isfinite(flat).all(-1) & (flat.abs().sum(-1) > 0)
    colors = flat.new_zeros(len(flat), 3)
    if basis is None:
        if not bool(shown.any()):
            raise BadInput("pca_colors: no features to show: all are zero or not finite")
        basis = _color_basis(flat[shown])
    components = (flat[shown] - basis.mean.to(flat)) @ basis.axes.to(flat).T
    span = (basis.high - basis.low).clamp_min(1e-8).to(flat)
    colors[shown] = ((components - basis.low.to(flat)) / span).clamp(0, 1)
    return colors.reshape(*features.shape[:-1], 3), basis


def _color_basis(features: Tensor) -> ColorBasis:
    sample = features[:: max(1, len(features) // 20000)]
    mean, axes = principal_axes(sample, 3)
    if len(axes) < 3:
        axes = torch.cat([axes, axes.new_zeros(3 - len(axes), axes.shape[1])])
    components = (sample - mean) @ axes.T
    low, high = torch.quantile(components, components.new_tensor([0.02, 0.98]), dim=0)
    return ColorBasis(mean, axes, low, high)
