"""Long 2D tracks of moving pixels, chained from the flow between neighbouring frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .flow import Flows, sample


@dataclass
class Tracks2D:
    """Tracks of N points over T frames.

    Attributes:
        pixels: [N, T, 2] float32, NaN where the point is not followed.
        visible: [N, T] bool.
        seeds: [N] the frame each track was begun in.
    """

    pixels: np.ndarray
    visible: np.ndarray
    seeds: np.ndarray

    def __len__(self) -> int:
        return len(self.seeds)


def follow(flows: Flows, masks: np.ndarray, spacing: float, least: int = 4) -> Tracks2D:
    """Follow points of the moving pixels ``masks`` [T, H, W], ``spacing`` pixels apart.

    A track is begun in every frame wherever no track passes, and goes on forwards and backwards while the flow is
    consistent and stays in the mask (Sundaram, Brox, Keutzer: Dense point trajectories, ECCV 2010). Tracks of fewer
    than ``least`` frames are dropped.
    """
    count = len(flows)
    height, width = flows.size
    pixels = np.full((0, count, 2), np.nan, np.float32)
    seeds = np.zeros(0, int)
    order = _middle_out(count)
    for t in order:
        free = masks[t].copy()
        here = pixels[:, t]
        here = here[np.isfinite(here[:, 0])]
        _cover(free, here, spacing)
        begun = _spread(free, spacing)
        if not len(begun):
            continue
        new = np.full((len(begun), count, 2), np.nan, np.float32)
        new[:, t] = begun
        for step in (1, -1):
            current, alive = begun.copy(), np.arange(len(begun))
            for s in range(t, count - 1 if step > 0 else 0, step):
                flow, valid = flows.between(s, s + step), flows.consistent(s, s + step)
                column = np.clip(current.astype(int), 0, [width - 1, height - 1])
                good = valid[column[:, 1], column[:, 0]]
                following = current + sample(flow, current)
                inside = (following >= 0).all(1) & (following < [width, height]).all(1)
                column = np.clip(following.astype(int), 0, [width - 1, height - 1])
                good &= inside & masks[s + step][column[:, 1], column[:, 0]]
                current, alive = following[good], alive[good]
                new[alive, s + step] = current
                if not len(alive):
                    break
        pixels = np.concatenate([pixels, new])
        seeds = np.concatenate([seeds, np.full(len(begun), t)])
    visible = np.isfinite(pixels[..., 0])
    long = visible.sum(1) >= min(least, count)
    return Tracks2D(pixels[long], visible[long], seeds[long])


def _middle_out(count: int) -> list[int]:
    """Frames from coarse to fine, so that the first tracks lie in the middle of their lives."""
    order, step = [], max(1, count // 2)
    while step >= 1:
        order += [t for t in range(step // 2, count, step) if t not in order]
        if step == 1:
            break
        step = max(1, step // 2)
    return order + [t for t in range(count) if t not in order]


def _cover(free: np.ndarray, points: np.ndarray, spacing: float) -> None:
    """Clear ``free`` within ``spacing`` of ``points``."""
    import cv2

    if not len(points):
        return
    there = np.ones(free.shape, np.uint8)
    column = np.clip(points.astype(int), 0, [free.shape[1] - 1, free.shape[0] - 1])
    there[column[:, 1], column[:, 0]] = 0
    free &= cv2.distanceTransform(there, cv2.DIST_L2, 5) >= spacing


def _spread(free: np.ndarray, spacing: float) -> np.ndarray:
    """Pixel centres [N, 2] of ``free``, about ``spacing`` apart, preferring its inside."""
    import cv2

    inner = cv2.distanceTransform(free.astype(np.uint8), cv2.DIST_L2, 5)
    y, x = np.nonzero(free)
    cells = np.stack([x // spacing, y // spacing], 1).astype(int)
    order = np.argsort(-inner[y, x], kind="stable")
    _, first = np.unique(cells[order] @ [1, 100_003], return_index=True)
    picked = order[first]
    return np.stack([x[picked] + 0.5, y[picked] + 0.5], 1).astype(np.float32)
