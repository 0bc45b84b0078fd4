"""Colours of Gaussians as spherical harmonics: 0.5 + sum of harmonics (3DGS, section 5.1)."""

from __future__ import annotations

from torch import Tensor

SH_C0 = 0.28209479177387814  # the constant harmonic, 1 / (2 sqrt(pi))


def mean_color(sh: Tensor) -> Tensor:
    """Colour on average over all directions, of SH coefficients [N, K, 3]: [N, 3] in 0..1."""
    return (0.5 + SH_C0 * sh[:, 0]).clamp(0, 1)
