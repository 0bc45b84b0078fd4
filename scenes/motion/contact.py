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


HANGING = 1.3  # ground so much farther than what the outline borders on is not what a thing stands on


def contact_scale(
    body, pixels: np.ndarray, masks: np.ndarray, still: np.ndarray, cameras: list[Camera], up: tuple
) -> float | None:
    """Factor on the distance of a :class:`.rigid.RigidBody` from the cameras at which it touches its surroundings.

    Nowhere is a body behind the still world that its outline borders on, and somewhere it touches it: the ground it
    stands on, the pole it hangs from. The still depth just outside the outline over the body's own says by which
    factor it could go back. What counts is the ground below the body along ``up``, or, where that is much farther than
    the smallest tenth of the whole outline, that tenth; and over the frames the 30% quantile. The outline is taken to
    be as far as the farthest points seen. None when too little of the outline is seen.

    Args:
        pixels: [N, T, 2] of all tracks; masks, still: [T, H, W] moving pixels and still depth.
    """
    below, around = [], []
    for j, f in enumerate(body.frames):
        spots = pixels[body.members, f]
        shown = np.isfinite(spots[:, 0])
        if shown.sum() < 5:
            continue
        spots = spots[shown]
        depth = cameras[f].project(torch.from_numpy(body.positions[shown, j]).float())[1].numpy()
        outline = np.quantile(depth, 0.9)
        ground, sides = _outside(spots, masks[f], still[f], down_in_image(cameras[f], up, spots.mean(0)))
        if len(ground):
            below.append(np.median(ground) / outline)
        if len(sides) >= 6:
            around.append(np.quantile(sides, 0.1) / outline)
    if len(around) < 3:
        return None
    hanging = float(np.quantile(around, 0.3))
    standing = float(np.quantile(below, 0.3)) if len(below) >= 3 else np.inf
    return standing if standing < HANGING * hanging else hanging


def _outside(spots: np.ndarray, mask: np.ndarray, still: np.ndarray, down: np.ndarray, rays: int = 36, gap: int = 3):
    """Still depths ``gap`` pixels outside the outline of ``mask`` around the points ``spots`` [K, 2], along rays from
    their middle: those within 20 degrees of ``down``, and all.

    Rays that leave the mask far from any of the points, through another thing, are left out.
    """
    height, width = mask.shape
    middle = spots.mean(0)
    reach = max(6.0, 1.5 * float(np.sqrt(np.ptp(spots[:, 0]) * np.ptp(spots[:, 1]) / len(spots))))
    ground, found = [], []
    for angle in np.linspace(0, 2 * np.pi, rays, endpoint=False):
        ray = np.array([np.cos(angle), np.sin(angle)])
        along = max(0.0, ((spots - middle) @ ray).max())
        for step in range(int(along), int(along + 2 * reach)):
            at = middle + step * ray
            x, y = at.astype(int)
            if not (0 <= x < width and 0 <= y < height):
                break
            if mask[y, x]:
                continue
            x, y = (at + gap * ray).astype(int)
            clear = 0 <= x < width and 0 <= y < height and not mask[y, x] and still[y, x] > 0
            if clear and np.linalg.norm(spots - at, axis=1).min() < reach:
                found.append(still[y, x])
                if ray @ down > 0.94:
                    ground.append(still[y, x])
            break
    return np.array(ground), np.array(found)


def down_in_image(camera: Camera, up: tuple[float, float, float], pixel) -> np.ndarray:
    """Unit direction [2] in the image of ``camera`` at ``pixel`` that points down in the world."""
    pixel = torch.as_tensor(np.asarray(pixel), dtype=torch.float32)
    point = camera.unproject(pixel, torch.tensor(1.0))
    below, depth = camera.project(point - 0.05 * torch.tensor(up, dtype=torch.float32))
    direction = (below - pixel).numpy() if depth > 1e-3 else np.array([0.0, 1.0])
    length = np.linalg.norm(direction)
    # looking straight down there is no lower end: take the lower edge of the picture
    return direction / length if length > 1e-4 else np.array([0.0, 1.0])
