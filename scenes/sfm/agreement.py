"""How well cameras agree with dense optical flow.

Structure from motion judges itself by the points that it kept. Flow sees every textured pixel: where cameras are wrong
about all that is near, as happens when most points are far, no depth explains how the near pixels move.
"""

from __future__ import annotations

import numpy as np

from ..motion.flow import Flows, pixel_grid
from ..motion.triangulate import compared

CELL = 8  # pixels across the cells that each give their most textured pixel
TEXTURE = 6.0  # grey levels of 255 per pixel that it must change by
CLOSE = 1.0  # pixels up to which flow is explained
# Frames up to so many places away tell the depth, flow that is farther off than so many pixels being taken for wrong.
ROUNDS = ((1, np.inf), (2, 16.0), (4, 8.0), (99, 4.0), (99, 4.0))


def explained(viewmats: np.ndarray, K: np.ndarray, flows: Flows, moving: np.ndarray) -> float:
    """Share of the flow vectors from textured still pixels to the frames around that one depth per pixel explains.

    Args:
        viewmats: [F, 4, 4] of the frames of ``flows``; K: [3, 3] with square pixels.
        moving: [F, H, W] bool, pixels to leave out.
    """
    good = total = 0
    for index in range(len(flows)):
        others = compared(index, len(flows))
        x, y = textured(flows.gray[index], ~moving[index]).T
        pixels = pixel_grid(*flows.size)[y, x].astype(float)
        seen = np.stack([pixels + flows.between(index, other)[y, x] for other in others])
        valid = np.stack([flows.consistent(index, other)[y, x] for other in others])
        span = np.abs(np.array(others) - index)
        residual = _residual(viewmats[others] @ np.linalg.inv(viewmats[index]), K, pixels, seen, valid, span)
        good += (valid & (residual < CLOSE)).sum()
        total += valid.sum()
    return float(good / max(total, 1))


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


def _residual(relative, K, pixels, seen, valid, span) -> np.ndarray:
    """Pixels [S, P] between where the P ``pixels`` [P, 2] are ``seen`` [S, P, 2] by S other cameras and where these see
    them at the depths that explain that best, by reweighted least squares (Geman and McClure).

    ``relative`` [S, 4, 4] leads from the camera to the others; ``span`` [S] is how many frames away they are.
    """
    center, focal = K[:2, 2], K[0, 0]
    rays = np.concatenate([(pixels - center) / focal, np.ones((len(pixels), 1))], 1)
    far, towards = np.einsum("sij,pj->spi", relative[:, :3, :3], rays), relative[:, None, :3, 3]
    spots = seen - center
    # u (z + rho t3) = f (x + rho t1) is linear in the inverse depth rho; divided by the depth ratio, in pixels
    slope = spots * towards[..., 2:] - focal * towards[..., :2]
    value = focal * far[..., :2] - spots * far[..., 2:]
    rho = np.zeros(len(pixels))
    for reach, width in ROUNDS:
        ratio = np.maximum(far[..., 2] + rho * towards[..., 2], 1e-3)
        residual = np.linalg.norm(value - rho[:, None] * slope, axis=-1) / ratio
        used = valid * (span <= max(reach, span.min()))[:, None]
        weight = used / np.square(ratio * (1 + np.square(residual / width)))
        both, square = (slope * value).sum(-1), np.square(slope).sum(-1)
        rho = np.maximum((weight * both).sum(0) / np.maximum((weight * square).sum(0), 1e-12), 0)
    ratio = np.maximum(far[..., 2] + rho * towards[..., 2], 1e-3)
    return np.linalg.norm(value - rho[:, None] * slope, axis=-1) / ratio
