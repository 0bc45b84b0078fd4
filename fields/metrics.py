"""How good pictures, masks and trajectories are: pure functions of results and truth.

SSIM is :func:`fields.losses.ssim` (11x11 Gaussian window, sigma 1.5, zero padding, as 3DGS and
DGD report it).
"""

from __future__ import annotations

import contextlib
import math

import numpy as np
import torch
from torch import Tensor


def psnr(image: Tensor, truth: Tensor, where: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB of images [..., 3] in 0..1: -10 log10(mean squared error).

    Identical images give 100 dB, so that a mean over frames stays finite. ``where`` [...] bool: the pixels that count,
    at least one; None: all.
    """
    difference = image - truth if where is None else (image - truth)[where]
    error = difference.square().mean().item()
    return 100.0 if error < 1e-10 else -10.0 * math.log10(error)


def confusion(truth: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Pixels by true class (row) and predicted class (column), int64 [classes, classes].

    Pixels whose true label is -1 are left out; every other label must lie in 0..classes-1.
    """
    valid = truth >= 0
    pairs = truth[valid] * classes + predicted[valid]
    return torch.bincount(pairs.flatten(), minlength=classes * classes).view(classes, classes)


def accuracy(matrix: Tensor) -> float:
    """Share of pixels on the diagonal of a confusion matrix; 1 for an empty one."""
    total = matrix.sum().item()
    return matrix.diagonal().sum().item() / total if total else 1.0


def average_accuracy(matrix: Tensor) -> float:
    """Mean over the classes that have true pixels of the share of these that is found; 1 when there is none."""
    true = matrix.sum(1)
    found = matrix.diagonal().double()[true > 0] / true[true > 0]
    return found.mean().item() if len(found) else 1.0


def class_iou(matrix: Tensor) -> Tensor:
    """Intersection over union of each class, [classes]; NaN for a class without a true pixel."""
    matrix = matrix.double()
    hit, true = matrix.diagonal(), matrix.sum(1)
    iou = hit / (true + matrix.sum(0) - hit)
    return torch.where(true > 0, iou, torch.full_like(iou, math.nan))


def mean_iou(matrix: Tensor) -> float:
    """Mean intersection over union over the classes that have true pixels; 1 when there is none."""
    iou = class_iou(matrix)
    present = ~iou.isnan()
    return iou[present].mean().item() if present.any() else 1.0


def jaccard(mask: Tensor, truth: Tensor) -> float:
    """Region similarity J: intersection over union of masks [H, W]; 1 when both are empty."""
    union = (mask | truth).sum().item()
    return (mask & truth).sum().item() / union if union else 1.0


def boundary_f(mask: Tensor, truth: Tensor, tolerance: float = 0.008) -> float:
    """Contour accuracy F of two boolean masks [H, W] (Perazzi et al. 2016, the DAVIS measure).

    Harmonic mean of precision and recall of contour pixels, matched within ``tolerance`` times the
    image diagonal (rounded up to whole pixels). 1 when neither mask has a contour, 0 when only one
    has.
    """
    from scipy.ndimage import distance_transform_edt

    ours, theirs = _contour(mask), _contour(truth)
    if not ours.any() and not theirs.any():
        return 1.0
    if not ours.any() or not theirs.any():
        return 0.0
    reach = math.ceil(tolerance * math.hypot(*mask.shape))
    precision = (distance_transform_edt(~theirs)[ours] <= reach).mean()
    recall = (distance_transform_edt(~ours)[theirs] <= reach).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall > 0 else 0.0


def _contour(mask: Tensor) -> np.ndarray:
    """Pixels unlike their right, lower or lower right neighbour (the border is no contour)."""
    padded = np.pad(mask.cpu().numpy().astype(bool), ((0, 1), (0, 1)), mode="edge")
    here = padded[:-1, :-1]
    return (here != padded[:-1, 1:]) | (here != padded[1:, :-1]) | (here != padded[1:, 1:])


def diameter(points: Tensor) -> float:
    """Largest distance between two of the points [P, 3]: the size of an object, in their unit."""
    from scipy.spatial import ConvexHull, QhullError

    points = points.double().cpu()
    if len(points) > 4:
        # Flat or straight clouds have no hull with a volume: then all points are compared.
        with contextlib.suppress(QhullError):
            points = points[torch.from_numpy(ConvexHull(points.numpy()).vertices).long()]
    return torch.cdist(points, points).max().item() if len(points) else 0.0


def track_error(
    predicted: Tensor, truth: Tensor, size: Tensor, where: Tensor | None = None
) -> dict:
    """Endpoint errors of trajectories [N, T, 3] against the truth.

    Args:
        size: of the object that each point is on, [N], in scene units (see :func:`diameter`).
        where: [N, T] bool, the points and times that count; None: all.

    Returns:
        ``epe_median`` and ``epe_mean`` in scene units, ``median_of_size`` the median distance as a
        share of the size, ``within_5`` and ``within_10`` the shares of points and times whose
        distance is at most 5% and 10% of the size.
    """
    distance = (predicted - truth).norm(dim=-1)
    share = distance / size[:, None]
    if where is not None:
        distance, share = distance[where], share[where]
    return {
        "epe_median": distance.median().item(),
        "epe_mean": distance.mean().item(),
        "median_of_size": share.median().item(),
        "within_5": (share <= 0.05).float().mean().item(),
        "within_10": (share <= 0.10).float().mean().item(),
    }
