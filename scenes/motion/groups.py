"""Tracks that move together: which of them belong to one thing."""

from __future__ import annotations

import numpy as np

from .follow import Tracks2D

WINDOW = 8  # frames over which relative motion is measured
NEAR = 0.075  # of the picture's height: two tracks must have come so close to be compared
# Two tracks of one thing move apart by less than this share of their distance within the window, unless
# it turns fast. From simulated worlds: 0.35 for the median pair of one rolling ball, 1 and more across two.
SPLIT = 0.5
SMALLEST = 6  # tracks in a group


def image_distance(tracks: Tracks2D, least: int = 4) -> np.ndarray:
    """Largest distance [N, N] in pixels of each two tracks over their common frames.

    Infinite for pairs with fewer than ``least`` common frames and on the diagonal.
    """
    count = len(tracks)
    largest = np.zeros((count, count), np.float32)
    for t in range(tracks.visible.shape[1]):
        seen = np.nonzero(tracks.visible[:, t])[0]
        at = tracks.pixels[seen, t]
        distance = np.linalg.norm(at[:, None] - at[None], axis=-1)
        block = np.ix_(seen, seen)
        largest[block] = np.maximum(largest[block], distance)
    common = tracks.visible.astype(np.float32) @ tracks.visible.T.astype(np.float32)
    largest[common < least] = np.inf
    np.fill_diagonal(largest, np.inf)
    return largest


def group(tracks: Tracks2D, distance: np.ndarray, height: int) -> np.ndarray:
    """Number [N] of the group that each track belongs to, from 0.

    Groups grow by merging the two with the least mean dissimilarity between their tracks (average linkage) as long
    as it is below ``SPLIT``; the few left over join the group of their neighbours. ``distance``: of
    :func:`image_distance`; ``height`` of the picture.
    """
    total, weight = _dissimilarity(tracks, NEAR * height)
    count = len(tracks)
    label = np.arange(count)
    mean = np.where(weight > 0, total / np.maximum(weight, 1e-9), np.inf)
    while count > 1:
        keep, drop = np.unravel_index(mean.argmin(), mean.shape)
        if mean[keep, drop] > SPLIT:
            break
        for table in (total, weight):
            table[keep] += table[drop]
            table[:, keep] = table[keep]
            table[keep, keep] = 0
            table[drop] = table[:, drop] = 0
        mean[keep] = np.where(weight[keep] > 0, total[keep] / np.maximum(weight[keep], 1e-9), np.inf)
        mean[:, keep] = mean[keep]
        mean[drop] = mean[:, drop] = np.inf
        label[label == drop] = keep
    return _joined(tracks, distance, label)


def _dissimilarity(tracks: Tracks2D, near: float) -> tuple[np.ndarray, np.ndarray]:
    """Weighted dissimilarities and weights [N, N] of pairs that come near and are seen together for a while.

    The dissimilarity is the largest change of the pair's offset within ``WINDOW`` frames over its length. Two
    points of one thing keep close when they are close; two things part.
    """
    count, steps = tracks.visible.shape
    window = min(WINDOW, max(1, steps // 3))
    total, weight = np.zeros((count, count)), np.zeros((count, count))
    pixels, visible = tracks.pixels, tracks.visible
    for a in range(count):
        together = visible[a] & visible[a + 1 :]
        offset = np.where(together[..., None], pixels[a + 1 :] - pixels[a], np.nan)
        length = np.linalg.norm(offset, axis=-1)
        shared = together.sum(1)
        closest = np.where(together, length, np.inf).min(1, initial=np.inf)
        change = np.linalg.norm(offset[:, window:] - offset[:, :-window], axis=-1)
        ratio = change / (np.fmin(length[:, window:], length[:, :-window]) + 4)
        worst = np.where(np.isfinite(ratio), ratio, -1).max(1, initial=-1)
        use = (shared >= window) & (closest < near) & (worst >= 0)
        others = a + 1 + np.nonzero(use)[0]
        share = np.minimum(shared[use], 2 * window) / (2 * window)
        total[a, others] = total[others, a] = np.minimum(worst[use], 1.5) * share
        weight[a, others] = weight[others, a] = share
    return total, weight


def _joined(tracks: Tracks2D, distance: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Labels from 0 with tracks of groups below ``SMALLEST`` given to their neighbours' groups."""
    size = np.bincount(label, minlength=len(label))
    large = size[label] >= min(SMALLEST, size.max())
    out = label.copy()
    members = np.nonzero(large)[0]
    for n in np.nonzero(~large)[0]:
        near = members[np.argsort(distance[n, members])[:5]]
        near = near[np.isfinite(distance[n, near])]
        if not len(near):  # seen together with none: the nearest place and time
            t = tracks.seeds[n]
            apart = [_apart(tracks, m, t, tracks.pixels[n, t]) for m in members]
            near = members[[int(np.argmin(apart))]]
        out[n] = np.bincount(label[near]).argmax()
    return np.unique(out, return_inverse=True)[1]


def _apart(tracks: Tracks2D, track: int, time: int, place: np.ndarray) -> float:
    """Pixels from ``place`` at ``time`` to the track, a frame counting as five of them."""
    seen = np.nonzero(tracks.visible[track])[0]
    nearest = seen[np.abs(seen - time).argmin()]
    return float(np.linalg.norm(tracks.pixels[track, nearest] - place) + 5 * abs(nearest - time))
