"""Depth of moving things from what they rest on.

The depth of what moves cannot be told from one moving camera alone. But a thing is in front of the still world at all
its pixels in all frames, and mostly it stands on something: where it touches the ground, the ground's depth is its own.
"""

from __future__ import annotations

import numpy as np
import torch

from ..camera import Camera


def resting_depth(mask: np.ndarray, still: np.ndarray, camera: Camera, up: tuple[float, float, float]) -> np.ndarray:
    """Z-depth [H, W] of the pixels of ``mask`` [H, W] if each connected part rests on the ground below it.

    A part is taken to be upright: all its pixels get the depth that the still world (``still``, z-depth [H, W]) has
    just below its lowest pixels, along ``up`` [3] as seen by the camera. 0 outside the mask.
    """
    import cv2

    out = np.zeros(mask.shape, np.float32)
    count, parts, stats, centers = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    height, width = mask.shape
    for part in range(1, count):
        inside = parts == part
        y, x = np.nonzero(inside)
        down = down_in_image(camera, up, centers[part] + 0.5)
        drop = x * down[0] + y * down[1]
        lowest = drop >= np.quantile(drop, 0.97)
        depths = []
        for beyond in (3, 4, 5):
            to_x = np.round(x[lowest] + down[0] * beyond).astype(int)
            to_y = np.round(y[lowest] + down[1] * beyond).astype(int)
            seen = (to_x >= 0) & (to_y >= 0) & (to_x < width) & (to_y < height)
            to_x, to_y = to_x[seen], to_y[seen]
            ground = ~mask[to_y, to_x]
            depths.append(still[to_y[ground], to_x[ground]])
        depths = np.concatenate(depths)
        # a part cut off by the picture's lower edge: the nearest ground the picture shows at its place
        depth = np.median(depths) if len(depths) else still[inside].min()
        out[inside] = depth
    return out


def rounded(mask: np.ndarray, depth: np.ndarray, focal: float) -> np.ndarray:
    """``depth`` [H, W] of upright parts of ``mask`` as if each were as thick as it is wide.

    The middle of a part comes nearer by sqrt(e (2 r - e)), e the distance to its outline and r the largest such, which
    is exact for a ball.
    """
    import cv2

    out = depth.copy()
    edge = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    count, parts = cv2.connectedComponents(mask.astype(np.uint8))
    for part in range(1, count):
        inside = parts == part
        e = edge[inside]
        out[inside] -= np.sqrt(np.maximum(e * (2 * e.max() - e), 0)) * depth[inside] / focal
    return out


def contact_scale(body, pixels, masks, still, cameras, up) -> float | None:
    """Factor on the distance of a :class:`.rigid.RigidBody` from the cameras that puts it on the ground.

    In each frame the ground just below the body's lowest points, along ``up`` in the image, says how far away its
    outline would be if it stood there; the outline is as far as the farthest points seen. Nowhere is the body behind
    the ground it hides, and somewhere it touches: of the frames' factors the 30% quantile is taken. None when the
    ground below is never seen.

    Args:
        pixels: [N, T, 2] of all tracks; masks, still: [T, H, W] moving pixels and still depth.
    """
    height, width = masks.shape[1:]
    factors = []
    for j, f in enumerate(body.frames):
        spots = pixels[body.members, f]
        shown = np.isfinite(spots[:, 0])
        if shown.sum() < 3:
            continue
        spots = spots[shown]
        camera = cameras[f]
        depth = camera.project(torch.from_numpy(body.positions[shown, j]).float())[1].numpy()
        down = down_in_image(camera, up, spots.mean(0))
        lowest = np.argsort(-(spots @ down))[: max(1, len(spots) // 10)]
        here = []
        for spot in spots[lowest]:
            ground = _below(spot, down, masks[f], still[f], 0.06 * height + 6, (width, height))
            if ground is not None:
                here.append(ground)
        if here:
            factors.append(np.median(here) / np.quantile(depth, 0.9))
    return float(np.quantile(factors, 0.3)) if factors else None


def _below(spot, down, mask, still, most, size) -> float | None:
    """Still depth just past the lower outline of ``mask`` below ``spot``; None when that is too far or not shown."""
    for step in range(1, int(most)):
        x, y = (spot + step * down).astype(int)
        if not (0 <= x < size[0] and 0 <= y < size[1]):
            return None
        if not mask[y, x]:
            x, y = (spot + (step + 2) * down).astype(int)
            shown = 0 <= x < size[0] and 0 <= y < size[1] and not mask[y, x] and still[y, x] > 0
            return float(still[y, x]) if shown else None
    return None


def down_in_image(camera: Camera, up: tuple[float, float, float], pixel) -> np.ndarray:
    """Unit direction [2] in the image of ``camera`` at ``pixel`` that points down in the world."""
    pixel = torch.as_tensor(np.asarray(pixel), dtype=torch.float32)
    point = camera.unproject(pixel, torch.tensor(1.0))
    below, depth = camera.project(point - 0.05 * torch.tensor(up, dtype=torch.float32))
    direction = (below - pixel).numpy() if depth > 1e-3 else np.array([0.0, 1.0])
    length = np.linalg.norm(direction)
    # looking straight down there is no lower end: take the lower edge of the picture
    return direction / length if length > 1e-4 else np.array([0.0, 1.0])
