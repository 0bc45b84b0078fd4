"""Which pixels of a video move, from flow against the geometry of a still world."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..scene import Scene
from .flow import Flows, pixel_grid, sample
from .triangulate import Epipolar, compared, still_fits

# A pixel of residual is never taken for motion, however still the rest is: flow is not better than that
# at the borders of things.
LEAST_RESIDUAL = 0.3
# Residuals above this many robust standard deviations of the still world are taken for motion.
SIGMAS = 5.0
# Grey levels of 255 by which the still hypothesis must match worse than the flow to count at all,
# and beyond that to count in full.
NOISE_CONTRAST, LEAST_CONTRAST = 0.5, 4.0
# Evidence above which a pixel may belong to something that moves, and above which it shows that it does.
LIKELY, SURE = 0.12, 0.25
# Share of a region's evidence (80th percentile) that a pixel needs to belong to it.
CUT = 0.4


def flow_masks(scene: Scene, posed: bool, dilate: int = 0) -> Tensor:
    """Masks [T, H, W] bool of training frames' pixels whose flow no still world explains.

    With known cameras a moving pixel is one whose flow to several other frames fits no single depth.
    Without it is one off the epipolar lines of a fundamental matrix, or off a homography where that
    explains the video as well (a turning camera). The evidence is averaged over frame gaps and,
    along the flow, over neighbouring frames. Kept with ``scene`` while it lives.
    """
    flows, kept = Flows.of(scene), f"_flow_masks_{'posed' if posed else 'unposed'}"
    masks = getattr(scene, kept, None)
    if masks is None or len(masks) != len(flows):
        still = _posed_still if posed else _unposed_still
        score = np.stack([_evidence(flows, t, still(scene, flows, t)) for t in range(len(flows))])
        score = _along_flow(flows, score)
        masks = [_cleaned(one, gray) for one, gray in zip(score, flows.gray, strict=True)]
        setattr(scene, kept, masks)
    return torch.from_numpy(np.stack([dilated(mask, dilate) for mask in masks]))


def dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    """``mask`` [H, W] bool widened by a disk of ``radius`` pixels."""
    import cv2

    return cv2.dilate(mask.astype(np.uint8), disk(radius)).astype(bool) if radius else mask


def disk(radius: int) -> np.ndarray:
    """A disk-shaped structuring element."""
    import cv2

    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _posed_still(scene: Scene, flows: Flows, index: int) -> np.ndarray:
    """Where each pixel would be seen if it stood still, [S, H, W, 2], by the depth that fits its flow."""
    fit = still_fits(scene)[index]
    cameras = scene.cameras
    pixels = torch.from_numpy(pixel_grid(*flows.size))
    epipolar = Epipolar.between(cameras[index], [cameras[other] for other in fit.others], pixels)
    return epipolar.project(fit.inverse_depth)[0].permute(0, 2, 3, 1).numpy()


def _unposed_still(scene: Scene, flows: Flows, index: int) -> np.ndarray:
    """The same [S, H, W, 2] without cameras: the place nearest to the flow's that two-view geometry allows."""
    return np.stack(
        [
            two_view_still(flows.between(index, other), flows.consistent(index, other))
            for other in compared(index, len(flows))
        ]
    )


def two_view_still(flow: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Where pixels are seen in the other view if they stand still, [H, W, 2], nearest to where ``flow`` leads.

    By a homography, or by a fundamental matrix if that is clearly better (the correction of Sampson, Hartley and
    Zisserman, 2nd ed., eq. 12.9, in the other view alone), fitted by MAGSAC to a grid of ``valid`` pixels.
    """
    import cv2

    pixels = pixel_grid(*valid.shape)
    targets = pixels + flow
    step = max(1, int(np.sqrt(valid.size / 2500)))
    picked = np.zeros_like(valid)
    picked[step // 2 :: step, step // 2 :: step] = True
    picked &= valid
    if picked.sum() < 16:
        return targets
    source, target = pixels[picked], targets[picked]
    cv2.setRNGSeed(0)
    homography, _ = cv2.findHomography(source, target, cv2.USAC_MAGSAC, 1.0, maxIters=2000)
    fundamental, _ = cv2.findFundamentalMat(source, target, cv2.USAC_MAGSAC, 0.5, 0.999, 2000)
    on_plane = on_line = targets
    plane_share = line_share = 0.0
    if homography is not None:
        moved = _homogeneous(pixels) @ homography.T
        on_plane = moved[..., :2] / moved[..., 2:]
        plane_share = (np.linalg.norm(on_plane - targets, axis=-1)[picked] < 1.5).mean()
    if fundamental is not None and fundamental.shape == (3, 3):
        line = _homogeneous(pixels) @ fundamental.T
        off = (line * _homogeneous(targets)).sum(-1) / np.maximum((line[..., :2] ** 2).sum(-1), 1e-20)
        on_line = targets - off[..., None] * line[..., :2]
        line_share = (np.linalg.norm(on_line - targets, axis=-1)[picked] < 1.0).mean()
    # A fundamental matrix always fits more points than a homography; under a turning camera it is
    # arbitrary and swallows motion, so it must earn its place.
    return on_plane if plane_share > 0.85 * line_share else on_line


def _homogeneous(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels, np.ones_like(pixels[..., :1])], -1).astype(np.float64)


def _evidence(flows: Flows, index: int, still: np.ndarray) -> np.ndarray:
    """Evidence of motion [H, W] in 0..1, averaged over the other frames; 0.5 is between still and moving.

    Per frame it is high where the flow is far from the still position, in units of what noise explains,
    and where the picture at the still position matches worse than at the flow's: in a plain sky the flow is
    arbitrary, and nothing tells that it moves.
    """
    import cv2

    pixels = pixel_grid(*flows.size)
    total, weight = np.zeros(flows.size, np.float32), np.full(flows.size, 1e-6, np.float32)
    here = flows.gray[index].astype(np.float32)
    for other, position in zip(compared(index, len(flows)), still, strict=True):
        flow, valid = flows.between(index, other), flows.consistent(index, other)
        if not valid.any():
            continue
        residual = np.linalg.norm(position - pixels - flow, axis=-1)
        # the still world is most of the picture: its noise is that of the median pixel
        unit = max(LEAST_RESIDUAL, SIGMAS * 1.4826 * float(np.median(residual[valid])))
        there = flows.gray[other].astype(np.float32)
        worse = cv2.blur(
            np.abs(sample(there, position) - here) - np.abs(sample(there, pixels + flow) - here),
            (5, 5),
        )
        ratio = (residual / unit) ** 2
        shown = np.clip((worse - NOISE_CONTRAST) / LEAST_CONTRAST, 0, 1)
        total += valid * shown * ratio / (1 + ratio)
        weight += valid
    return total / weight


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


def _cleaned(score: np.ndarray, gray: np.ndarray) -> np.ndarray:
    """A mask [H, W] from evidence: solid regions of it, each cut at ``CUT`` of its own height.

    The evidence is first drawn to the edges of the picture (guided filter), as flow blurs them.
    """
    import cv2

    fine = max(1, round(min(score.shape) / 135))
    score = _guided(gray.astype(np.float32) / 255, score, 6 * fine)
    # the borders of still things are thin lines of evidence, which an opening removes
    solid = cv2.morphologyEx((score > LIKELY).astype(np.uint8), cv2.MORPH_OPEN, disk(2 * fine))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=4)
    mask = np.zeros(score.shape, np.uint8)
    for part in range(1, count):
        inside = parts == part
        height = np.quantile(score[inside], 0.8)
        if stats[part, cv2.CC_STAT_AREA] < 3e-4 * score.size or height < SURE:
            continue
        # limbs thinner than the opening come back where they touch what is kept
        around = cv2.dilate(inside.astype(np.uint8), disk(3 * fine))
        mask |= around & (score > max(LIKELY, CUT * height))
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disk(1))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disk(2 * fine))
    return mask.astype(bool)


def _guided(guide: np.ndarray, value: np.ndarray, radius: int, softness: float = 0.002) -> np.ndarray:
    """``value`` smoothed but for the edges of ``guide``: He, Sun, Tang, Guided Image Filtering, ECCV 2010."""
    import cv2

    def mean(image: np.ndarray) -> np.ndarray:
        return cv2.blur(image, (2 * radius + 1, 2 * radius + 1))

    mean_guide, mean_value = mean(guide), mean(value)
    variance = mean(guide * guide) - mean_guide**2
    slope = (mean(guide * value) - mean_guide * mean_value) / (variance + softness)
    return mean(slope) * guide + mean(mean_value - slope * mean_guide)
