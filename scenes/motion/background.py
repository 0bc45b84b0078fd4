"""What the still world looks like behind what moves, and which pixels it explains after all."""

from __future__ import annotations

import numpy as np
import torch

from ..scene import Scene
from .depth import static_depth
from .evidence import dilated, disk, flow_masks
from .flow import pixel_grid, sample
from .triangulate import Epipolar

SOURCES = 7  # colours whose median makes a background pixel
# A pixel differs from the background when it does so by this much, in any channel, around it.
CHANGE = 0.08
# A shadow is the background's texture, darkened in all channels alike.
SHADOW_CORRELATION = 0.6
SHADOW_TINT = 0.2
MARGIN = 3  # pixels around the flow's mask in which changed pixels may join it


def changed_masks(scene: Scene) -> np.ndarray:
    """Masks [T, H, W] of a posed scene's moving pixels, corrected by what the background looks like.

    Flow blurs the outlines of what moves and takes moving shadows for things. The still world is seen in
    other frames: pixels that look like it, or like it in shadow, are given back.
    """
    masks = flow_masks(scene, posed=True).numpy()
    sources = [_Source(scene, t, mask) for t, mask in enumerate(masks)]
    out = []
    for t, mask in enumerate(masks):
        near = dilated(mask, MARGIN + 2)
        out.append(_corrected(sources[t].image, _background(scene, sources, t, near), mask))
    return np.stack(out)


class _Source:
    """A training frame as a source of background colour."""

    def __init__(self, scene: Scene, index: int, mask: np.ndarray):
        self.image = scene.split("train")[index].image.numpy()
        self.depth = static_depth(scene)[index].numpy()
        self.blocked = dilated(mask, 2)


def _background(scene: Scene, sources: list[_Source], index: int, wanted: np.ndarray) -> np.ndarray:
    """Colour [H, W, 3] of the still world at the pixels ``wanted`` [H, W]; NaN where no frame shows it."""
    height, width = wanted.shape
    background = np.full((height, width, 3), np.nan, np.float32)
    if not wanted.any():
        return background
    cameras, count = scene.cameras, len(sources)
    others = sorted((o for o in range(count) if o != index), key=lambda other: abs(other - index))
    others = others[:6] + others[6 :: max(1, count // 14)]
    pixels = torch.from_numpy(pixel_grid(height, width))[torch.from_numpy(wanted)]
    inverse_depth = torch.from_numpy(1 / sources[index].depth[wanted])
    epipolar = Epipolar.between(cameras[index], [cameras[other] for other in others], pixels)
    places, ratios = epipolar.project(inverse_depth)
    colors = np.full((len(others), len(pixels), 3), np.nan, np.float32)
    for k, other in enumerate(others):
        source, place = sources[other], places[k].T.numpy()
        depth = (ratios[k] / inverse_depth).numpy()
        x, y = np.clip(place.astype(int), 0, [width - 1, height - 1]).T
        inside = (place >= 1).all(1) & (place < [width - 1, height - 1]).all(1)
        seen = np.abs(source.depth[y, x] - depth) < 0.05 * source.depth[y, x]
        usable = inside & seen & ~source.blocked[y, x]
        colors[k, usable] = sample(source.image, place[usable])
    known = np.isfinite(colors[..., 0])
    nearest = np.argsort(~known, axis=0, kind="stable")[:SOURCES]
    colors = np.take_along_axis(colors, nearest[..., None], 0)
    enough = known.sum(0) >= 2
    background[np.nonzero(wanted)[0][enough], np.nonzero(wanted)[1][enough]] = np.nanmedian(colors[:, enough], 0)
    return background


def _corrected(image: np.ndarray, background: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``mask`` [H, W] without what ``background`` [H, W, 3] explains, with changed pixels at its rim."""
    import cv2

    if not mask.any():
        return mask
    known = np.isfinite(background[..., 0])
    background = np.where(known[..., None], background, image)
    difference = cv2.blur(np.abs(image - background).max(-1), (3, 3))
    explained = known & ((difference < CHANGE) | _shadow(image, background, known))
    moving = np.where(known, dilated(mask, MARGIN) & ~explained, mask).astype(np.uint8)
    moving = cv2.morphologyEx(moving, cv2.MORPH_OPEN, disk(1))
    moving = _filled(cv2.morphologyEx(moving, cv2.MORPH_CLOSE, disk(2)))
    # what the flow does not support for its larger part is change, but not motion
    count, parts, stats, _ = cv2.connectedComponentsWithStats(moving, connectivity=4)
    area = stats[:, cv2.CC_STAT_AREA]
    keep = (np.bincount(parts[mask], minlength=count) > 0.5 * area) & (area > 3e-4 * mask.size)
    keep[0] = False
    return keep[parts]


def _shadow(image: np.ndarray, background: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Where ``image`` is ``background`` darkened: [H, W] bool."""
    import cv2

    share = known.astype(np.float32)
    weight = np.maximum(cv2.blur(share, (7, 7)), 1e-3)

    def mean(value: np.ndarray) -> np.ndarray:
        return cv2.blur(value * share, (7, 7)) / weight

    bright, behind = image.mean(-1), background.mean(-1)
    mean_bright, mean_behind = mean(bright), mean(behind)
    spread = (mean(bright**2) - mean_bright**2) * (mean(behind**2) - mean_behind**2)
    covariance = mean(bright * behind) - mean_bright * mean_behind
    correlation = covariance / np.sqrt(np.maximum(spread, 1e-8))
    ratio = np.stack([mean(image[..., c]) / np.maximum(mean(background[..., c]), 1e-3) for c in range(3)])
    tint = (ratio.max(0) - ratio.min(0)) / ratio.mean(0).clip(1e-3)
    darker = (ratio.max(0) < 1) & (ratio.min(0) > 0.25)
    return darker & (tint < SHADOW_TINT) & (correlation > SHADOW_CORRELATION)


def _filled(mask: np.ndarray) -> np.ndarray:
    """``mask`` uint8 with its small holes filled."""
    import cv2

    _, parts, stats, _ = cv2.connectedComponentsWithStats(1 - mask, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < 0.01 * mask.size
    small[0] = False
    return mask | small[parts].astype(np.uint8)
