"""Boxes around a moving object."""

from __future__ import annotations

import torch
from torch import Tensor

TRIM = 0.01  # share of the points left out on either side: stray Gaussians must not size a box


def follow(points: Tensor, weights: Tensor) -> list[dict]:
    """Centroid, axis-aligned and oriented box of an object at each time.

    The oriented box has the principal axes of the first time, turned by the object's mean rotation
    since then (Kabsch 1976), so that it follows the object rather than its outline.

    Args:
        points: trajectories [N, T, 3]; weights: [N], how much each counts in the centroid.

    Returns:
        Per time: ``centroid`` [3]; ``box`` with ``min``, ``max`` [3]; ``oriented_box`` with
        ``center`` [3], ``size`` [3] and ``rotation`` 3x3, whose columns are the box's axes in the
        world. Scene units.
    """
    points, weights = points.double().cpu(), weights.double().cpu()
    weights = weights / weights.sum()
    center = torch.einsum("n,ntc->tc", weights, points)
    rest = points[:, 0] - center[0]
    axes = principal_axes(rest, weights)
    followed = []
    for t in range(points.shape[1]):
        now = points[:, t] - center[t]
        turned = rotation(rest, now, weights) @ axes
        low, high = trimmed_range(points[:, t])
        inner_low, inner_high = trimmed_range(now @ turned)
        followed.append(
            {
                "centroid": center[t].tolist(),
                "box": {"min": low.tolist(), "max": high.tolist()},
                "oriented_box": {
                    "center": (center[t] + turned @ ((inner_low + inner_high) / 2)).tolist(),
                    "size": (inner_high - inner_low).tolist(),
                    "rotation": turned.tolist(),
                },
            }
        )
    return followed


def principal_axes(points: Tensor, weights: Tensor) -> Tensor:
    """Right-handed axes of a centred cloud [N, 3] as columns [3, 3], longest first."""
    _, axes = torch.linalg.eigh(points.T @ (weights[:, None] * points))
    axes = axes.flip(-1)
    return axes * torch.tensor([1.0, 1.0, torch.det(axes).sign().item()], dtype=axes.dtype)


def rotation(before: Tensor, after: Tensor, weights: Tensor) -> Tensor:
    """The rotation [3, 3] that best turns one centred cloud [N, 3] into the other (Kabsch 1976)."""
    U, _, Vt = torch.linalg.svd(after.T @ (weights[:, None] * before))
    mirror = torch.diag(torch.tensor([1.0, 1.0, torch.det(U @ Vt).sign().item()], dtype=U.dtype))
    return U @ mirror @ Vt


def trimmed_range(values: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest of values [N, 3] per axis, less the outermost 1% on either side."""
    low, high = torch.quantile(values, torch.tensor([TRIM, 1 - TRIM], dtype=values.dtype), dim=0)
    return low, high
