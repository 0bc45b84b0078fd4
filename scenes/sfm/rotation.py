"""Cameras that only turn: for panning shots, whose parallax is too small for structure from motion."""

from __future__ import annotations

import numpy as np

LEAST = 30  # still pixels that must agree on how the camera turned
STRIDE = 6  # pixels between the flow vectors used


def turning_viewmats(forward: np.ndarray, still: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, float]:
    """World-to-camera rotations [T, 4, 4] of a camera that stays in place, and the median residual in pixels.

    Between neighbouring frames R is the rotation that turns the viewing rays of the still pixels onto those where the
    flow leads (Kabsch), of the pixels that agree on a homography (RANSAC): moving things that were not masked do not.
    Where too few pixels agree the camera is taken to rest.

    Args:
        forward: flow [T-1, H, W, 2]; still: [T, H, W] bool; K: [3, 3].
    """
    import cv2

    steps, height, width = forward.shape[:3]
    y, x = np.mgrid[STRIDE // 2 : height : STRIDE, STRIDE // 2 : width : STRIDE]
    grid = np.stack([x, y], -1).reshape(-1, 2)
    viewmats, residuals = [np.eye(4)], []
    for t in range(steps):
        kept = still[t][grid[:, 1], grid[:, 0]]
        here = (grid[kept] + 0.5).astype(np.float64)
        there = here + forward[t][grid[kept][:, 1], grid[kept][:, 0]]
        H, agree = cv2.findHomography(here, there, cv2.RANSAC, 1.0) if len(here) >= LEAST else (None, None)
        turn = np.eye(3)
        if H is not None and agree.sum() >= LEAST:
            before, after = (_rays(pixels[agree[:, 0] > 0], K) for pixels in (here, there))
            U, _, Vt = np.linalg.svd(after.T @ before)
            turn = U @ np.diag([1, 1, np.sign(np.linalg.det(U @ Vt))]) @ Vt
            moved = np.concatenate([here, np.ones((len(here), 1))], 1) @ (K @ turn @ np.linalg.inv(K)).T
            error = np.linalg.norm(moved[:, :2] / moved[:, 2:] - there, axis=1)
            residuals.append(np.median(error[agree[:, 0] > 0]))
        step = np.eye(4)
        step[:3, :3] = turn
        viewmats.append(step @ viewmats[-1])
    return np.stack(viewmats), float(np.median(residuals)) if residuals else float("nan")


def _rays(pixels: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Unit viewing directions [N, 3] of ``pixels`` [N, 2]."""
    rays = np.concatenate([pixels, np.ones((len(pixels), 1))], 1) @ np.linalg.inv(K).T
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)
