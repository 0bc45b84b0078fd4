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


def down_in_image(camera: Camera, up: tuple[float, float, float], pixel) -> np.ndarray:
    """Unit direction [2] in the image of ``camera`` at ``pixel`` that points down in the world."""
    pixel = torch.as_tensor(np.asarray(pixel), dtype=torch.float32)
    point = camera.unproject(pixel, torch.tensor(1.0))
    below, depth = camera.project(point - 0.05 * torch.tensor(up, dtype=torch.float32))
    direction = (below - pixel).numpy() if depth > 1e-3 else np.array([0.0, 1.0])
    length = np.linalg.norm(direction)
    # looking straight down there is no lower end: take the lower edge of the picture
    return direction / length if length > 1e-4 else np.array([0.0, 1.0])
