"""Monocular disparity, known up to scale and shift, brought to the inverse depth of a scene."""

from __future__ import annotations

import torch
from torch import Tensor

from .files import BadInput

ROUNDS = 50
OUTLIER = 3.0  # robust standard deviations from the line at which a depth counts as wrong


def aligned(disparity: Tensor, depth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Inverse depth [T, H, W] in 1 / scene units from a video's monocular ``disparity`` [T, H, W].

    Each frame has a scale and a shift of its own. Where a frame's known depths do not tell its scale (a wall that the
    estimator takes for parallel to the image), it has the median scale of the others.

    Args:
        depth: z-depth [T, H, W] in scene units of the pixels ``valid`` [T, H, W] bool; 0 where unknown.

    Returns: inverse depth; 0 where it would be negative, for infinitely far.

    Raises BadInput: no frame's known depths tell its scale, or a frame has none.
    """
    known = (depth > 0) & torch.isfinite(depth)
    known = known if valid is None else known & valid
    points = [(d[k].double(), 1 / z[k].double()) for d, z, k in zip(disparity, depth, known, strict=True)]
    if not all(len(x) for x, _ in points):
        raise BadInput("disparity: expected known depths in every frame")
    lines = [scale_and_shift(x, y) for x, y in points]
    scales = [line[0] for line in lines if line]
    if not scales:
        raise BadInput("disparity: expected larger values for what is nearer; the known depths do not show it")
    usual = torch.tensor(scales).median().item()
    lines = [line or (usual, (y - usual * x).median().item()) for line, (x, y) in zip(lines, points, strict=True)]
    scale, shift = (disparity.new_tensor(values)[:, None, None] for values in zip(*lines, strict=True))
    return (scale * disparity + shift).clamp_min(0)


def scale_and_shift(disparity: Tensor, inverse_depth: Tensor) -> tuple[float, float] | None:
    """The rising line from ``disparity`` [P] to ``inverse_depth`` [P] that wrong depths hardly pull.

    Least absolute deviations by reweighted least squares, then least squares without the outliers. None where the
    points lie on no rising line: fewer than two of them, all of one disparity, or the nearer ones have smaller ones.
    """
    x, y = disparity.double(), inverse_depth.double()
    if len(x) < 2 or x.max() - x.min() < 1e-9 * x.abs().max():
        return None
    center, spread = x.mean(), x.std()
    x = (x - center) / spread
    weight = torch.ones_like(x)
    for _ in range(ROUNDS):
        scale, shift = _line(x, y, weight)
        off = (scale * x + shift - y).abs()
        weight = 1 / off.clamp_min(1e-6 * y.abs().max())
    near = off <= torch.clamp_min(OUTLIER * 1.4826 * off.median(), 1e-6 * y.abs().max())
    scale, shift = _line(x, y, near.double())
    return ((scale / spread).item(), (shift - scale * center / spread).item()) if scale > 0 else None


def _line(x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and offset by weighted least squares."""
    share = weight / weight.sum()
    mean_x, mean_y = (share * x).sum(), (share * y).sum()
    across = (share * (x - mean_x).square()).sum().clamp_min(1e-30)
    scale = (share * (x - mean_x) * (y - mean_y)).sum() / across
    return scale, mean_y - scale * mean_x
