"""Initial points of a scene with known cameras: what stands still, triangulated, and what moves."""

from __future__ import annotations

import torch
from torch import Tensor

from ..scene import PointCloud, Scene, spread
from .depth import interpolated, static_depth, trusted_pixels, unprojected
from .jumps import jumping
from .masks import motion_masks
from .matched import matched_features
from .moving_points import moving_points, near_tracks
from .triangulate import still_fits

SAME_COLOR = 0.15  # mean difference of two pictures of a point at most
FILLED = 8  # frames of a video, which shows most things again and again, that plain regions are filled from
MATCHED = 200  # features from which on photographs tell enough of depth


def initial_points(scene: Scene, count: int = 20_000) -> PointCloud:
    """About ``count`` coloured points to start a field from; ``times`` is NaN for those at rest.

    Still points are triangulated from the flow between frames with known cameras, a point of the scene's own
    joining them where it has any. A tenth of them covers what could not be triangulated (plain walls, the sky) at
    interpolated depth. Moving points, as many as their share of the picture asks for, lie at the depth of the motion
    scaffold. Where a scene without points is not a video but photographs that jump, features matched between these
    give the still points and nothing is taken to move; a note of the scene says so. Empty when nothing can be found.
    """
    if len(scene.train) < 2:
        return scene.points if scene.points is not None else _empty()
    if jumping(scene):
        return scene.points if scene.points is not None else _photographed_points(scene, count)
    moving, followed = motion_masks(scene), near_tracks(scene)
    share = float(moving.float().mean())
    moving_count = int(count * min(0.5, 2 * share)) if moving.any() else 0
    still = _still_points(scene, trusted_pixels(scene) & ~followed, followed, count - moving_count)
    if not moving_count:
        return still
    return _joined(still, moving_points(scene, moving, moving_count))


def _still_points(scene: Scene, trusted: Tensor, followed: Tensor, count: int) -> PointCloud:
    """Triangulated points of the ``trusted`` pixels [T, H, W], the scene's own, and a tenth from interpolated depth."""
    frames, fits = scene.split("train"), still_fits(scene)
    generator = torch.Generator().manual_seed(0)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    if scene.points is not None:
        rest = scene.points
        kept = rest.times.isnan() if rest.times is not None else torch.ones(len(rest), dtype=torch.bool)
        parts.append((rest.positions[kept], rest.colors[kept], torch.zeros(int(kept.sum()))))
    share = min(1.0, 20 * count / max(1, int(trusted.sum())))
    for t, (frame, fit) in enumerate(zip(frames, fits, strict=True)):
        chosen = trusted[t] & (torch.rand(trusted[t].shape, generator=generator) < share)
        position = unprojected(scene, t, chosen, 1 / fit.inverse_depth)
        quality = (fit.deviation / fit.inverse_depth)[chosen]
        parts.append((position, frame.image[chosen], quality))
    positions, colors, cost = (torch.cat(values) for values in zip(*parts, strict=True))
    real = _supported(scene, positions, colors, followed)
    known = _thinned(positions[real], colors[real], cost[real], count=int(0.9 * count))
    if not len(known):
        return known
    return _joined(known, _filled_points(scene, trusted, static_depth(scene), count - len(known), FILLED))


def _photographed_points(scene: Scene, count: int) -> PointCloud:
    """Points of features matched between photographs, and a tenth from depth interpolated between each one's own."""
    frames, features = scene.split("train"), matched_features(scene)
    found = sum(len(seen.pixels) for seen in features)
    if found < MATCHED:
        scene.notes.append(f"points: none, as frames jump too far for optical flow and only {found} features match")
        return _empty()
    farthest = float(torch.cat([seen.inverse_depth for seen in features]).quantile(0.02))
    known, depth = [], []
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for frame, seen in zip(frames, features, strict=True):
        x, y = seen.pixels.floor().long().unbind(-1)
        position = frame.camera.unproject(seen.pixels, 1 / seen.inverse_depth)
        parts.append((position, frame.image[y, x], seen.deviation / seen.inverse_depth))
        inverse, there = torch.zeros(2, *frame.image.shape[:2])
        inverse[y, x], there[y, x] = seen.inverse_depth, 1.0
        depth.append(1 / torch.from_numpy(interpolated(inverse.numpy(), there.numpy(), farthest)).clamp_min(1e-6))
        known.append(there > 0)
    points = _thinned(*(torch.cat(values) for values in zip(*parts, strict=True)), count=int(0.9 * count))
    scene.notes.append(f"points: frames jump too far for optical flow: started from {found} features matched in them")
    filled = _filled_points(scene, torch.stack(known), torch.stack(depth), count - len(points), len(frames))
    return _joined(points, filled)


def _supported(scene: Scene, positions: Tensor, colors: Tensor, followed: Tensor) -> Tensor:
    """Which points [P] look the same wherever they are in sight, beside what moves or is ``followed``: bool [P].

    A thing can move such that from frame to frame it looks like something at rest elsewhere.
    """
    depth, moving = static_depth(scene), motion_masks(scene, dilate=2) | followed
    height, width = moving.shape[1:]
    views, alike = torch.zeros(len(positions)), torch.zeros(len(positions))
    for t, (frame, camera) in enumerate(zip(scene.split("train"), scene.cameras, strict=True)):
        pixels, z = camera.project(positions)
        x, y = pixels.floor().long().unbind(-1)
        inside = (z > 1e-6) & (x >= 0) & (y >= 0) & (x < width) & (y < height)
        x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
        seen = inside & ~moving[t, y, x] & (z < 1.05 * depth[t, y, x])
        views += seen
        alike += seen & ((frame.image[y, x] - colors).abs().mean(-1) < SAME_COLOR)
    return (views > 0) & (alike >= 0.5 * views)


def _filled_points(scene: Scene, known: Tensor, depth: Tensor, count: int, pictures: int) -> PointCloud:
    """About ``count`` points at z-depth ``depth`` [T, H, W] on still pixels far from any ``known`` [T, H, W], in so
    many ``pictures`` at most."""
    import cv2

    frames, moving = scene.split("train"), motion_masks(scene, dilate=4)
    chosen_frames = spread(len(frames), pictures)
    generator = torch.Generator().manual_seed(1)
    positions, colors = [], []
    for t in chosen_frames:
        near = cv2.dilate(known[t].numpy().astype("uint8"), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
        empty = (torch.from_numpy(near) == 0) & ~moving[t]
        if frames[t].has("alpha"):
            empty &= frames[t].alpha > 0.5
        wanted = count / len(chosen_frames)
        empty &= torch.rand(empty.shape, generator=generator) < min(1, wanted / max(1, int(empty.sum())))
        positions.append(unprojected(scene, t, empty, depth[t]))
        colors.append(frames[t].image[empty])
    return PointCloud(torch.cat(positions), torch.cat(colors))


def _thinned(positions: Tensor, colors: Tensor, cost: Tensor, count: int) -> PointCloud:
    """About ``count`` of the points, the cheapest of each cell of a grid that is fine where cameras are near.

    The grid is laid over log-distance from the median, so that the far background does not eat the budget.
    """
    finite = torch.isfinite(positions).all(-1)
    positions, colors, cost = positions[finite], colors[finite], cost[finite]
    if len(positions) <= count:
        return PointCloud(positions, colors)
    center = positions.median(0).values
    offset = positions - center
    radius = offset.norm(dim=-1).median().clamp_min(1e-9)
    distance = offset.norm(dim=-1, keepdim=True) / radius
    # space beyond the median distance is contracted (mip-NeRF 360, eq. 10)
    contracted = torch.where(distance > 1, (2 - 1 / distance) / distance, 1.0) * offset / radius
    order = cost.argsort()
    contracted = contracted[order]
    low, high = 1e-4, 1.0
    for _ in range(16):
        size = (low * high) ** 0.5
        cells = (contracted / size).floor().long()
        key = (cells[:, 0] * 73856093) ^ (cells[:, 1] * 19349663) ^ (cells[:, 2] * 83492791)
        if len(key.unique()) > count:
            low = size
        else:
            high = size
    _, first = _first_of_each(key)
    kept = order[first]
    return PointCloud(positions[kept], colors[kept])


def _first_of_each(key: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct values of ``key`` and the index of each one's first occurrence."""
    values, inverse = key.unique(return_inverse=True)
    first = torch.full((len(values),), len(key)).scatter_reduce(0, inverse, torch.arange(len(key)), "amin")
    return values, first


def _joined(first: PointCloud, second: PointCloud) -> PointCloud:
    def times(points: PointCloud) -> Tensor:
        return points.times if points.times is not None else torch.full((len(points),), torch.nan)

    return PointCloud(
        torch.cat([first.positions, second.positions]),
        torch.cat([first.colors, second.colors]),
        torch.cat([times(first), times(second)]),
    )


def _empty() -> PointCloud:
    return PointCloud(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0))
