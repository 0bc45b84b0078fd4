"""How far away a moving thing is.

From one camera a thing and its motion are known but for a factor: X' = C(t) + s (X - C(t)) is seen the same
for any s. Two principles settle it. Its motion in the world is smooth while the camera's is not, so s keeps
accelerations small. And it is in front of the still world at all its pixels in all frames and touches it at
least once, so s is the largest that keeps it in front.
"""

from __future__ import annotations

import numpy as np

from .evidence import disk
from .follow import Tracks2D
from .rigidity import Rays

GAPS = (2, 4, 7)  # frames between the three positions of an acceleration
CROWD = 30  # tracks beyond which a mean acceleration gains no weight


def smooth_scale(tracks: Tracks2D, rays: Rays, depth: np.ndarray, members: np.ndarray) -> float:
    """The factor on the depths of the tracks ``members`` that makes their mean accelerations smallest.

    Robust linear least squares over (1 - s) C'' + s X'' with less weight on the vertical. The mean over tracks is taken
    first: the noise of single tracks would draw s towards 0. 1 where too little is seen.
    """
    visible = tracks.visible[members]
    relative = np.where(visible[..., None], depth[members][..., None] * rays.directions[members], 0)
    still, moving, weight = [], [], []
    for gap in GAPS:
        if visible.shape[1] <= 2 * gap:
            continue
        run = visible[:, 2 * gap :] & visible[:, gap:-gap] & visible[:, : -2 * gap]
        change = relative[:, 2 * gap :] - 2 * relative[:, gap:-gap] + relative[:, : -2 * gap]
        seen = run.sum(0)
        some = seen >= min(3, len(members))
        mean = (change * run[..., None]).sum(0)[some] / seen[some][:, None]
        camera = rays.centers[2 * gap :] - 2 * rays.centers[gap:-gap] + rays.centers[: -2 * gap]
        still.append(camera[some] @ rays.damping / gap**2)
        moving.append(mean @ rays.damping / gap**2)
        weight.append(np.minimum(seen[some], CROWD))
    if not still or sum(map(len, still)) < 4:
        return 1.0
    still, moving, crowd = np.concatenate(still), np.concatenate(moving), np.concatenate(weight)
    weight, scale = crowd.astype(float), 1.0
    for _ in range(10):
        size = (weight[:, None] * moving**2).sum()
        if size < 1e-20:
            return 1.0
        scale = -(weight[:, None] * still * moving).sum() / size
        left = np.linalg.norm(still + scale * moving, axis=1)
        weight = crowd / (1 + (left / (1.5 * np.median(left) + 1e-12)) ** 2)
    return float(scale) if np.isfinite(scale) and scale > 0 else 1.0


def resting_scale(
    tracks: Tracks2D,
    depth: np.ndarray,
    members: np.ndarray,
    regions: list[np.ndarray],
    still: np.ndarray,
    focal: float,
) -> float:
    """The largest factor that keeps the thing of the tracks ``members`` in front of the still world.

    The thing's back is where its front, known along the tracks, would have it if it were as thick as it is wide
    (:func:`thickness` of its ``regions``, T masks [H, W]); ``still`` is the still world's z-depth [T, H, W]. A low
    quantile over its lower pixels and over time. NaN where too little is seen.
    """
    ratios = []
    for t, region in enumerate(regions):
        seen = members[tracks.visible[members, t]]
        if len(seen) < 4 or region.sum() < 12:
            continue
        half = thickness(region)
        place = tracks.pixels[seen, t]
        nearest, distance = _nearest(place, region.shape)
        inside = region & (distance < 8)
        if inside.sum() < 12:
            continue
        column = np.clip(place.astype(int), 0, [region.shape[1] - 1, region.shape[0] - 1])
        front_half = half[column[:, 1], column[:, 0]][nearest[inside]]
        middle = depth[seen, t][nearest[inside]] * (1 + front_half / focal)
        back = middle * (1 + half[inside] / focal)
        ratios.append(np.quantile(still[t][inside] / back, 0.05))
    return float(np.quantile(ratios, 0.2)) if len(ratios) >= 2 else float("nan")


def thickness(region: np.ndarray) -> np.ndarray:
    """Half thickness [H, W] in pixels of a body as thick as it is wide: the balls on the region's skeleton."""
    import cv2

    inner = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    ridge = (inner >= cv2.dilate(inner, disk(1)) - 1e-3) & (inner > 1)
    square = np.zeros_like(inner)
    height, width = inner.shape
    for y, x in zip(*np.nonzero(ridge), strict=True):
        radius = inner[y, x]
        reach = int(np.ceil(radius))
        rows = np.arange(max(0, y - reach), min(height, y + reach + 1))[:, None]
        columns = np.arange(max(0, x - reach), min(width, x + reach + 1))[None]
        ball = radius**2 - (rows - y) ** 2 - (columns - x) ** 2
        square[rows, columns] = np.maximum(square[rows, columns], ball)
    return np.sqrt(square)


def regions_of(tracks: Tracks2D, label: np.ndarray, masks: np.ndarray) -> dict[int, list[np.ndarray]]:
    """Per group the pixels of ``masks`` [T, H, W] nearest to its tracks, T masks [H, W]."""
    regions = {group: [] for group in np.unique(label)}
    for t, mask in enumerate(masks):
        seen = np.nonzero(tracks.visible[:, t])[0]
        if len(seen):
            nearest, distance = _nearest(tracks.pixels[seen, t], mask.shape)
            owner = label[seen][nearest]
        for group, list_ in regions.items():
            list_.append(mask & (owner == group) & (distance < 20) if len(seen) else mask & False)
    return regions


def _nearest(points: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest of ``points`` [N, 2] for each pixel, and its distance, both [H, W]."""
    import cv2

    free = np.ones(shape, np.uint8)
    column = np.clip(points.astype(int), 0, [shape[1] - 1, shape[0] - 1])
    free[column[:, 1], column[:, 0]] = 0
    distance, zone = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    index = np.zeros(zone.max() + 1, int)
    index[zone[column[:, 1], column[:, 0]]] = np.arange(len(points))
    return index[zone], distance
