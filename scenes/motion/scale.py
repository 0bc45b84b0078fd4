"""How far away a moving thing is.

From one camera a thing and its motion are known but for a factor: X' = C(t) + s (X - C(t)) is seen the same for any
s. Two principles settle it. Its motion in the world is smooth while the camera's is not, so s keeps accelerations
small. And it is above the ground in all frames and rests on it in some, so s is the largest that keeps it above.
"""

from __future__ import annotations

import numpy as np

from ..camera import Camera
from .flow import pixel_grid
from .follow import Tracks2D
from .ground import plane_below
from .rigidity import Rays

GAPS = (2, 4, 7)  # frames between the three positions of an acceleration
CROWD = 30  # tracks beyond which a mean acceleration gains no weight
WINDOW = 24  # frames that a cubic path is fitted to
# Factors that differ by less in log are averaged; by more, rest is believed; by still more the thing
# is taken not to rest on the ground at all.
ALIKE, APART = 0.08, 0.35


def scale_of(
    tracks: Tracks2D, rays: Rays, depth: np.ndarray, members: np.ndarray, planes: list, regions: list[np.ndarray]
) -> float:
    """The factor to apply to the depths of the tracks ``members`` by both principles.

    ``planes`` and ``regions``: per frame the ground below the thing (or None) and its pixels [H, W].
    """
    smooth = smooth_scale(tracks, rays, depth, members)
    resting = resting_scale(tracks, rays, depth, members, planes, regions)
    if not np.isfinite(resting) or not np.isfinite(smooth):
        return (
            float(np.nan_to_num(np.nanmax([smooth, resting, -1]), nan=1.0))
            if np.isfinite([smooth, resting]).any()
            else 1.0
        )
    difference = np.log(resting / smooth)
    if difference > APART:
        return smooth
    return resting if abs(difference) > ALIKE else float(np.sqrt(resting * smooth))


def smooth_scale(tracks: Tracks2D, rays: Rays, depth: np.ndarray, members: np.ndarray) -> float:
    """The factor that makes the mean motion of the tracks ``members`` smoothest; NaN where too little is seen.

    By two measures of smoothness, with less weight on the vertical: small accelerations, and closeness to a
    cubic path over some twenty frames. A thing's own accelerations and noise draw both down, so the larger counts.
    """
    visible = tracks.visible[members]
    place = np.where(visible[..., None], depth[members][..., None] * rays.directions[members], 0)
    return float(np.fmax(_least_acceleration(place, visible, rays), _cubic_path(place, visible, rays)))


def _least_acceleration(place: np.ndarray, visible: np.ndarray, rays: Rays) -> float:
    """Minimises (1 - s) C'' + s X'', the mean over tracks taken first: the noise of single tracks would draw s to 0."""
    camera, thing, crowd = [], [], []
    for gap in (gap for gap in GAPS if visible.shape[1] > 2 * gap):
        run = visible[:, 2 * gap :] & visible[:, gap:-gap] & visible[:, : -2 * gap]
        change = place[:, 2 * gap :] - 2 * place[:, gap:-gap] + place[:, : -2 * gap]
        seen = run.sum(0)
        some = seen >= 3
        thing.append((change * run[..., None]).sum(0)[some] / seen[some][:, None] / gap**2)
        path = rays.centers
        camera.append((path[2 * gap :] - 2 * path[gap:-gap] + path[: -2 * gap])[some] / gap**2)
        crowd.append(np.minimum(seen[some], CROWD))
    if sum(map(len, thing)) < 4:
        return float("nan")
    thing, camera = np.concatenate(thing) @ rays.damping, np.concatenate(camera) @ rays.damping
    return _balance(camera, thing, np.concatenate(crowd).astype(float))


def _cubic_path(place: np.ndarray, visible: np.ndarray, rays: Rays) -> float:
    """Minimises the distance of the path, summed up from mean steps of the tracks, from cubics."""
    both = visible[:, 1:] & visible[:, :-1]
    seen = both.sum(0)
    step = ((place[:, 1:] - place[:, :-1]) * both[..., None]).sum(0) / np.maximum(seen, 1)[:, None]
    camera, thing = [], []
    for begin, end in _runs(seen >= 3):
        window = min(WINDOW, end - begin + 1)
        if window < 8:
            continue
        path = np.concatenate([np.zeros((1, 3)), np.cumsum(step[begin:end], 0)])
        basis = np.linspace(-1, 1, window)[:, None] ** np.arange(1 + min(3, window // 5))
        basis, _ = np.linalg.qr(basis)
        for start in range(0, len(path) - window + 1, max(1, window // 6)):
            for whole, rests in ((rays.centers[begin : end + 1], camera), (path, thing)):
                part = whole[start : start + window]
                rests.append(part - basis @ (basis.T @ part))
    if not camera:
        return float("nan")
    camera, thing = np.concatenate(camera) @ rays.damping, np.concatenate(thing) @ rays.damping
    return _balance(camera, thing, np.ones(len(camera)))


def _balance(camera: np.ndarray, thing: np.ndarray, weight: np.ndarray) -> float:
    """The s that makes ``camera`` + s ``thing`` [K, 3] smallest, robustly; NaN where they do not determine it."""
    first, scale = weight, float("nan")
    for _ in range(10):
        size = (weight[:, None] * thing**2).sum()
        if size < 1e-20:
            return float("nan")
        scale = -(weight[:, None] * camera * thing).sum() / size
        left = np.linalg.norm(camera + scale * thing, axis=1)
        weight = first / (1 + (left / (1.5 * np.median(left) + 1e-12)) ** 2)
    return float(scale) if scale > 0.05 else float("nan")


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Beginnings and ends of the runs of true ``flags``."""
    edge = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(zip(edge[::2], edge[1::2], strict=True))


def resting_scale(
    tracks: Tracks2D, rays: Rays, depth: np.ndarray, members: np.ndarray, planes: list, regions: list[np.ndarray]
) -> float:
    """The largest factor that keeps the thing of the tracks ``members`` above the ground; NaN where there is none.

    The thing is taken to be as thick as it is wide: around each of its pixels fits a ball that reaches its outline,
    its front at the depth of the nearest track. A low quantile over frames, as a thing may leave the ground.
    """
    factors = []
    for t, (plane, region) in enumerate(zip(planes, regions, strict=True)):
        seen = members[tracks.visible[members, t]]
        if plane is None or len(seen) < 4:
            continue
        normal, offset = plane
        height = normal @ rays.centers[t] - offset
        place = tracks.pixels[seen, t]
        nearest, distance = nearest_point(place, region.shape)
        inside = region & (distance < 0.03 * region.shape[0])
        if height <= 0 or inside.sum() < 12:
            continue
        outline = _to_outline(region)
        radius = np.maximum(outline - 0.5, 0)[inside] / rays.focal
        front = depth[seen, t][nearest[inside]]
        # the front of a ball is where its track is, its middle a radius behind
        at_track = outline[place[:, 1].astype(int), place[:, 0].astype(int)][nearest[inside]]
        middle = front * (1 + at_track / rays.focal)
        ray = rays.through(t, pixel_grid(*region.shape)[inside])
        reach = middle * (radius - ray @ normal)
        factors.append(np.quantile(height / np.maximum(reach, 1e-9), 0.01))
    return float(np.quantile(factors, 0.3)) if len(factors) >= 3 else float("nan")


def planes_below(
    regions: list[np.ndarray], moving: np.ndarray, still: np.ndarray, trusted: np.ndarray, cameras: list[Camera], up
) -> list[tuple[np.ndarray, float] | None]:
    """:func:`.ground.plane_below` for the pixels ``regions`` of a thing in each frame."""
    return [
        plane_below(region, moving[t], still[t], trusted[t], cameras[t], up) if region.sum() >= 20 else None
        for t, region in enumerate(regions)
    ]


def regions_of(tracks: Tracks2D, label: np.ndarray, masks: np.ndarray) -> dict[int, list[np.ndarray]]:
    """Per group the pixels of ``masks`` [T, H, W] nearest to its tracks, T masks [H, W]."""
    regions = {group: [] for group in np.unique(label)}
    for t, mask in enumerate(masks):
        seen = np.nonzero(tracks.visible[:, t])[0]
        owner = np.full(mask.shape, -1)
        if len(seen):
            nearest, distance = nearest_point(tracks.pixels[seen, t], mask.shape)
            owner = np.where(distance < 0.15 * mask.shape[0], label[seen][nearest], -1)
        for group, found in regions.items():
            found.append(mask & (owner == group))
    return regions


def nearest_point(points: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest of ``points`` [N, 2] for each pixel, and its distance in pixels, both [H, W]."""
    import cv2

    free = np.ones(shape, np.uint8)
    column = np.clip(points.astype(int), 0, [shape[1] - 1, shape[0] - 1])
    free[column[:, 1], column[:, 0]] = 0
    distance, zone = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    index = np.zeros(zone.max() + 1, int)
    index[zone[column[:, 1], column[:, 0]]] = np.arange(len(points))
    return index[zone], distance


def _to_outline(region: np.ndarray) -> np.ndarray:
    """Distance [H, W] in pixels to the outline of ``region``, which the picture's edge belongs to."""
    import cv2

    return cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
