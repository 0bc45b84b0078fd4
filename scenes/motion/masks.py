"""Which pixels of a video show something that moves, from flow against the geometry of a still world."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..scene import Scene
from .flow import Flows, pixel_grid, sample
from .triangulate import static_fit

# Frames compared with each frame, before and after it. Slow motion shows over the long gaps only.
GAPS = (1, 2, 4, 8, 12)
# A pixel of residual is never taken for motion, however still the rest is: flow is not better than that
# at the borders of things.
LEAST_RESIDUAL = 1.0
# Residuals above this many robust standard deviations of the still world are taken for motion.
SIGMAS = 5.0


def motion_masks(scene: Scene, dilate: int = 0, posed: bool | None = None) -> Tensor:
    """Masks [T, H, W] bool of what moves in the training frames, widened by ``dilate`` pixels.

    With known cameras a moving pixel is one whose flow to several other frames fits no single depth. Without
    (``posed`` false; by default as the scene says) it is one off the epipolar lines of a fundamental matrix,
    or off a homography where that explains the video as well (a turning camera), fitted robustly.
    The evidence is averaged over frame gaps and, along the flow, over neighbouring frames.
    """
    flows = Flows.of(scene)
    posed = scene.posed if posed is None else posed
    count = len(flows)
    if count < 2:
        return torch.zeros(count, *flows.size, dtype=torch.bool)
    score = np.stack([
        _evidence(_posed_residuals(scene, flows, t) if posed else _epipolar_residuals(flows, t))
        for t in range(count)
    ])
    score = _along_flow(flows, score)
    return torch.from_numpy(np.stack([_cleaned(frame, dilate) for frame in score]))


def others(index: int, count: int, gaps: tuple[int, ...] = GAPS) -> list[int]:
    """The frames that frame ``index`` of ``count`` is compared with."""
    around = [index + sign * gap for gap in gaps for sign in (1, -1)]
    return [other for other in around if 0 <= other < count]


def _posed_residuals(scene: Scene, flows: Flows, index: int) -> np.ndarray:
    """Residuals [S, H, W] in pixels of the best still point per pixel; NaN unknown."""
    return static_fit(flows, scene.cameras, index, others(index, len(flows))).residual


def _epipolar_residuals(flows: Flows, index: int) -> np.ndarray:
    """Residuals [S, H, W] in pixels from robustly fitted two-view geometry per other frame; NaN unknown."""
    out = []
    for other in others(index, len(flows)):
        flow, valid = flows.between(index, other), flows.consistent(index, other)
        out.append(np.where(valid, two_view_residual(flow, valid), np.nan))
    return np.stack(out)


def two_view_residual(flow: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Distance [H, W] in pixels of ``flow`` from a homography, or a fundamental matrix if that is clearly better.

    Sampson distance for the fundamental matrix (Hartley and Zisserman, 2nd ed., eq. 11.9), transfer error for the
    homography; both by MAGSAC over a grid of ``valid`` pixels.
    """
    import cv2

    height, width = valid.shape
    pixels = pixel_grid(height, width)
    step = max(1, int(np.sqrt(height * width / 2500)))
    picked = np.zeros_like(valid)
    picked[step // 2 :: step, step // 2 :: step] = True
    picked &= valid
    if picked.sum() < 16:
        return np.zeros(valid.shape, np.float32)
    source, target = pixels[picked], (pixels + flow)[picked]
    cv2.setRNGSeed(0)
    homography, _ = cv2.findHomography(source, target, cv2.USAC_MAGSAC, 1.0, maxIters=2000)
    fundamental, _ = cv2.findFundamentalMat(source, target, cv2.USAC_MAGSAC, 0.5, 0.999, 2000)
    off_plane = np.full(valid.shape, np.inf)
    if homography is not None:
        moved = _homogeneous(pixels) @ homography.T
        off_plane = np.linalg.norm(moved[..., :2] / moved[..., 2:] - pixels - flow, axis=-1)
    off_line = np.full(valid.shape, np.inf)
    if fundamental is not None and fundamental.shape == (3, 3):
        off_line = sampson_distance(fundamental, pixels, pixels + flow)
    if not np.isfinite(off_plane).any() and not np.isfinite(off_line).any():
        return np.zeros(valid.shape, np.float32)
    # A fundamental matrix always fits more points than a homography; under a turning camera it is
    # arbitrary and swallows motion, so it must earn its place.
    plane_share = (off_plane[picked] < 1.5).mean()
    line_share = (off_line[picked] < 1.0).mean()
    use_plane = plane_share > 0.85 * line_share
    return (off_plane if use_plane else off_line).astype(np.float32)


def sampson_distance(fundamental: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """First-order distance [...] in pixels of matches ``source``, ``target`` [..., 2] from a fundamental matrix."""
    source, target = _homogeneous(source), _homogeneous(target)
    line_target, line_source = source @ fundamental.T, target @ fundamental
    top = np.abs((target * line_target).sum(-1))
    slope = (line_target[..., :2] ** 2).sum(-1) + (line_source[..., :2] ** 2).sum(-1)
    return top / np.sqrt(np.maximum(slope, 1e-20))


def _homogeneous(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels, np.ones_like(pixels[..., :1])], -1).astype(np.float64)


def _evidence(residual: np.ndarray) -> np.ndarray:
    """Evidence of motion [H, W] in 0..1 from residuals [S, H, W]: the mean over other frames of e^2 / (1 + e^2).

    e is the residual in units of what noise explains; 0.5 is the line between still and moving.
    """
    known = np.isfinite(residual)
    filled = np.where(known, residual, 0)
    # the still world is most of the picture: its noise is that of the median pixel
    noise = np.array([
        np.median(frame[mask]) * 1.4826 if mask.any() else 0.0 for frame, mask in zip(filled, known, strict=True)
    ])
    unit = np.maximum(LEAST_RESIDUAL, SIGMAS * noise)[:, None, None]
    ratio = (filled / unit) ** 2
    evidence = ratio / (1 + ratio)
    return ((evidence * known).sum(0) / np.maximum(known.sum(0), 1)).astype(np.float32)


def _along_flow(flows: Flows, score: np.ndarray) -> np.ndarray:
    """Average ``score`` [T, H, W] with that of the two neighbours to each side, read along consistent flow."""
    height, width = flows.size
    pixels = pixel_grid(height, width)
    out = np.empty_like(score)
    for t in range(len(score)):
        total, weight = score[t].copy(), np.ones_like(score[t])
        for gap in (-2, -1, 1, 2):
            if 0 <= t + gap < len(score):
                trusted = flows.consistent(t, t + gap)
                total += trusted * sample(score[t + gap], pixels + flows.between(t, t + gap))
                weight += trusted
        out[t] = total / weight
    return out


def _cleaned(score: np.ndarray, dilate: int) -> np.ndarray:
    """A mask [H, W] from evidence: sure regions grown into likely ones, thin and tiny ones dropped."""
    import cv2

    def disk(radius: int) -> np.ndarray:
        return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))

    likely = cv2.morphologyEx((score > 0.4).astype(np.uint8), cv2.MORPH_OPEN, disk(1))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(likely, connectivity=4)
    sure = np.bincount(parts[score > 0.6], minlength=count)
    least = 2e-4 * score.size
    keep = (sure >= 0.2 * stats[:, cv2.CC_STAT_AREA]) & (stats[:, cv2.CC_STAT_AREA] >= least)
    keep[0] = False
    mask = cv2.morphologyEx(keep[parts].astype(np.uint8), cv2.MORPH_CLOSE, disk(1))
    if dilate:
        mask = cv2.dilate(mask, disk(dilate))
    return mask.astype(bool)
