"""Initial points of a scene with known cameras: what stands still, triangulated, and what moves."""

from __future__ import annotations

import torch
from torch import Tensor

from ..scene import PointCloud, Scene
from .contact import resting_depth
from .depth import static_depth, trusted_pixels, unprojected
from .flow import pixel_grid
from .masks import motion_masks
from .tracks import motion_scaffold
from .triangulate import still_fits

SAME_COLOR = 0.15  # mean difference of two pictures of a point at most
NEAREST = 6  # tracks that tell the depth of a moving pixel
REACH = 1.5  # times the distance between tracks that a pixel may be from one and be told by them


def initial_points(scene: Scene, count: int = 20_000) -> PointCloud:
    """About ``count`` coloured points to start a field from; ``times`` is NaN for those at rest.

    Still points are triangulated from the flow between frames with known cameras, a point of the scene's own
    joining them where it has any. A tenth of them covers what could not be triangulated (plain walls, the sky) at
    interpolated depth. Moving points, as many as their share of the picture asks for, lie at the depth of the motion
    scaffold. Empty when the video yields nothing.
    """
    if len(scene.train) < 2:
        return scene.points if scene.points is not None else _empty()
    moving = motion_masks(scene)
    trusted = trusted_pixels(scene)
    share = float(moving.float().mean())
    moving_count = int(count * min(0.5, 2 * share)) if moving.any() else 0
    trusted = trusted & ~_near_tracks(scene)
    still = _still_points(scene, trusted, count - moving_count)
    if not moving_count:
        return still
    return _joined(still, _moving_points(scene, moving, moving_count))


def _still_points(scene: Scene, trusted: Tensor, count: int) -> PointCloud:
    """Triangulated points, the scene's own, and a tenth from interpolated depth."""
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
    real = _supported(scene, positions, colors)
    known = _thinned(positions[real], colors[real], cost[real], count=int(0.9 * count))
    return _joined(known, _filled_points(scene, trusted, count - len(known))) if len(known) else known


def _supported(scene: Scene, positions: Tensor, colors: Tensor) -> Tensor:
    """Which points [P] look the same wherever they are in sight, beside what moves: bool [P].

    A thing can move such that from frame to frame it looks like something at rest elsewhere.
    """
    depth, moving = static_depth(scene), motion_masks(scene, dilate=2) | _near_tracks(scene)
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


def _filled_points(scene: Scene, trusted: Tensor, count: int) -> PointCloud:
    """Points at interpolated depth on pixels far from any trusted one, in a few frames."""
    import cv2

    frames, depth, moving = scene.split("train"), static_depth(scene), motion_masks(scene, dilate=4)
    chosen_frames = torch.linspace(0, len(frames) - 1, min(8, len(frames))).round().long().unique().tolist()
    generator = torch.Generator().manual_seed(1)
    positions, colors = [], []
    for t in chosen_frames:
        near = cv2.dilate(trusted[t].numpy().astype("uint8"), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
        empty = (torch.from_numpy(near) == 0) & ~moving[t]
        wanted = count / len(chosen_frames)
        empty &= torch.rand(empty.shape, generator=generator) < min(1, wanted / max(1, int(empty.sum())))
        positions.append(unprojected(scene, t, empty, depth[t]))
        colors.append(frames[t].image[empty])
    return PointCloud(torch.cat(positions), torch.cat(colors))


def _near_tracks(scene: Scene) -> Tensor:
    """Pixels [T, H, W] bool near lifted tracks. What is followed there moves, even in frames in which it happens to
    move as something at rest elsewhere would."""
    import cv2

    near, lifted = torch.zeros(motion_masks(scene).shape, dtype=torch.bool), motion_scaffold(scene)
    if lifted is None:
        return near
    height, width = near.shape[1:]
    for t, camera in enumerate(scene.cameras):
        places, depth = camera.project(lifted.positions[lifted.visible[:, t], t])
        spots = places[depth > 0].floor().long().clamp_min(0)
        if len(spots) < 2:
            continue
        empty = torch.ones(height, width, dtype=torch.uint8)
        empty[spots[:, 1].clamp_max(height - 1), spots[:, 0].clamp_max(width - 1)] = 0
        away = torch.from_numpy(cv2.distanceTransform(empty.numpy(), cv2.DIST_L2, 5))
        near[t] = away < _spacing(places)
    return near


def _spacing(places: Tensor) -> Tensor:
    """Median distance of ``places`` [N, 2] from the nearest other."""
    return torch.cdist(places, places).topk(2, largest=False).values[:, 1].median()


def _moving_points(scene: Scene, moving: Tensor, count: int) -> PointCloud:
    """Points on moving pixels of all frames: near the lifted tracks, at their depth; without tracks, at the depth of
    what the pixels stand on."""
    frames, depth = scene.split("train"), _moving_depth(scene, moving)
    generator = torch.Generator().manual_seed(2)
    share = min(1.0, count / max(1, int((depth > 0).sum())))
    positions, colors, times = [], [], []
    for t, frame in enumerate(frames):
        chosen = (depth[t] > 0) & (torch.rand(moving[t].shape, generator=generator) < share)
        positions.append(unprojected(scene, t, chosen, depth[t]))
        colors.append(frame.image[chosen])
        times.append(torch.full((int(chosen.sum()),), frame.time))
    return PointCloud(torch.cat(positions), torch.cat(colors), torch.cat(times))


def _moving_depth(scene: Scene, moving: Tensor) -> Tensor:
    """Z-depth [T, H, W] of moving pixels near lifted tracks, 0 elsewhere.

    A plane of inverse depth through the nearest tracks, which is exact for flat surfaces and does not bulge where a
    round one turns away. Pixels without a track near, as those of a shadow, belong to nothing that is known to move.
    """
    still, lifted = static_depth(scene), motion_scaffold(scene)
    out = torch.zeros(moving.shape)
    for t, camera in enumerate(scene.cameras):
        chosen = moving[t]
        tracks = None if lifted is None else lifted.positions[lifted.visible[:, t], t]
        if tracks is None or len(tracks) < NEAREST:
            if lifted is None:
                out[t] = torch.from_numpy(resting_depth(chosen.numpy(), still[t].numpy(), camera, scene.up))
            continue
        places, depth = camera.project(tracks)
        spacing = _spacing(places)
        pixels = torch.from_numpy(pixel_grid(*chosen.shape))[chosen]
        apart, near = torch.cdist(pixels, places).topk(NEAREST, largest=False)
        inverse = _plane(pixels, places[near], 1 / depth[near].clamp_min(1e-6), apart, spacing)
        known = apart[:, 0] < REACH * spacing
        out[t][chosen] = torch.where(known, 1 / inverse, torch.zeros_like(inverse))
    return out


def _plane(pixels: Tensor, places: Tensor, values: Tensor, apart: Tensor, spacing: Tensor) -> Tensor:
    """Values [P] at ``pixels`` [P, 2] of the planes fitted to ``values`` [P, K] at ``places`` [P, K, 2], the nearer
    counting more; never outside their range by more than half of it."""
    weight = 1 / (apart / spacing + 0.3).square()
    design = torch.cat([torch.ones_like(values)[..., None], (places - pixels[:, None]) / spacing], -1)
    weighted = (weight[..., None] * design).mT
    ridge = torch.diag(torch.tensor([1e-6, 0.3, 0.3]))
    fitted = torch.linalg.solve(weighted @ design + ridge, weighted @ values[..., None])[:, 0, 0]
    low, high = values.min(1).values, values.max(1).values
    slack = 0.5 * (high - low)
    return torch.minimum(torch.maximum(fitted, low - slack), high + slack)


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
