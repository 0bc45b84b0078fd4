"""The ground that moving things rest on, as planes around their feet."""

from __future__ import annotations

import numpy as np
import torch

from ..camera import Camera
from .contact import down_in_image
from .evidence import dilated
from .flow import pixel_grid

TILT = 0.85  # least cosine between the ground's normal and up
SLACK = 0.01  # of the distance, by which ground may be uneven
TRIALS = 60


def plane_below(
    region: np.ndarray, moving: np.ndarray, still: np.ndarray, trusted: np.ndarray, camera: Camera, up: np.ndarray
) -> tuple[np.ndarray, float] | None:
    """The plane normal @ X = offset, normal up, that the still world forms around the foot of ``region``.

    RANSAC on the ``trusted`` pixels of ``still`` (z-depth [H, W]) that are near the region's lowest tenth and not
    ``moving`` [H, W]; None where too few of them agree or the region is cut off by the picture's edge.
    """
    y, x = np.nonzero(region)
    down = down_in_image(camera, up, (x.mean() + 0.5, y.mean() + 0.5))
    drop = x * down[0] + y * down[1]
    lowest = drop >= np.quantile(drop, 0.9)
    height, width = region.shape
    if (
        (x[lowest] == 0).any()
        or (y[lowest] == 0).any()
        or (x[lowest] == width - 1).any()
        or (y[lowest] == height - 1).any()
    ):
        return None
    foot = np.zeros(region.shape, bool)
    foot[y[lowest], x[lowest]] = True
    reach = int(np.clip(0.6 * np.sqrt(region.sum()), 0.04 * height, 0.3 * height))
    near = dilated(foot, reach) & ~dilated(moving, 2) & trusted
    if near.sum() < 30:
        return None
    pixels = torch.from_numpy(pixel_grid(height, width)[near])
    points = camera.unproject(pixels, torch.from_numpy(still[near])).double().numpy()
    return _fitted(points, up, SLACK * float(np.median(still[near])))


def _fitted(points: np.ndarray, up: np.ndarray, slack: float) -> tuple[np.ndarray, float] | None:
    generator = np.random.default_rng(0)
    best, inliers = 0, None
    for _ in range(TRIALS):
        a, b, c = points[generator.choice(len(points), 3, replace=False)]
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal)
        if length < 1e-12 or abs(normal @ up) < TILT * length:
            continue
        close = np.abs((points - a) @ normal) < slack * length
        if close.sum() > best:
            best, inliers = close.sum(), close
    if best < 0.4 * len(points):
        return None
    middle = points[inliers].mean(0)
    normal = np.linalg.svd(points[inliers] - middle, full_matrices=False)[2][2]
    normal = normal if normal @ up > 0 else -normal
    return normal, float(normal @ middle)
