"""How well cameras agree with dense optical flow.

Structure from motion judges itself by the points that it kept. Flow sees every textured pixel: where cameras are wrong
about all that is near, as happens when most points are far, no depth explains how the near pixels move.
"""

from __future__ import annotations

import numpy as np
import torch

from ..camera import Camera
from ..motion.flow import Flows
from ..motion.triangulate import fit_still

CELL = 8  # pixels across the cells that each give their most textured pixel
TEXTURE = 6.0  # grey levels of 255 per pixel that it must change by
CLOSE = 1.0  # pixels up to which flow is explained


def explained(viewmats: np.ndarray, K: np.ndarray, flows: Flows, moving: np.ndarray) -> float:
    """Share of the flow vectors from textured still pixels to the frames around that one depth per pixel explains.

    Args:
        viewmats: [F, 4, 4] of the frames of ``flows``; K: [3, 3] with square pixels.
        moving: [F, H, W] bool, pixels to leave out.
    """
    height, width = flows.size
    K = torch.from_numpy(K).float()
    cameras = [Camera(K, torch.from_numpy(viewmat).float(), width, height) for viewmat in viewmats]
    good = total = 0
    for index in range(len(flows)):
        residual = fit_still(flows, cameras, index, at=textured(flows.gray[index], ~moving[index])).residual
        good += int((residual < CLOSE).sum())
        total += int(residual.isfinite().sum())
    return good / max(total, 1)


def steepness(gray: np.ndarray) -> np.ndarray:
    """Grey levels per pixel by which a picture [H, W] changes at each pixel (Sobel)."""
    import cv2

    gray = gray.astype(np.float32)
    return np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)) / 8


def textured(gray: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Pixels [N, 2] (x, y; integers), the one of steepest grey in each cell of a picture [H, W] if it is steep and
    ``allowed`` [H, W]."""
    slope = steepness(gray) * allowed
    rows, columns = slope.shape[0] // CELL, slope.shape[1] // CELL
    cells = slope[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL).swapaxes(1, 2)
    cells = cells.reshape(rows * columns, CELL**2)
    cell, best = np.flatnonzero(cells.max(1) > TEXTURE), cells.argmax(1)
    row, column = np.divmod(best[cell], CELL)
    return np.stack([cell % columns * CELL + column, cell // columns * CELL + row], 1)
