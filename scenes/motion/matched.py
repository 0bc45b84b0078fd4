"""Features matched between photographs with known cameras, and their depth.

What optical flow is to a video, for pictures that jump: each feature is sought along its epipolar lines in the pictures
from nearby, and the one depth that most of its matches agree on is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..camera import Camera
from ..scene import Scene
from .triangulate import Epipolar

FEATURES = 3000  # per picture: more only costs time
CONTRAST = 0.01  # SIFT's least contrast: a quarter of its own default, as epipolar lines tell most wrong matches
NEIGHBORS = 10  # pictures that each is matched with
SAME_PLACE = 0.01  # share of the scene's extent within which cameras stand at one place
BAND = 2.0  # pixels from the epipolar lines
RATIO = 0.8  # of distances to the best and the second match (Lowe, Distinctive Image Features, IJCV 2004)
AGREEMENT = 1.5  # pixels between a match and the feature's depth
FEATURE_NOISE = 0.5  # pixels
LARGEST_DEVIATION = 0.1  # share of a depth by which that noise may move it


@dataclass
class Seen:
    """Features of one picture that others confirm.

    Attributes:
        pixels: [N, 2] x, y.
        inverse_depth: [N] above 0.
        deviation: [N] its standard deviation for one pixel of noise.
    """

    pixels: Tensor
    inverse_depth: Tensor
    deviation: Tensor


@dataclass
class _Matches:
    """Matches of two pictures: ``rows`` [M] and ``columns`` [M] of their features, and whether each is ``distinct``
    [M] among all of the other picture's features, not just those near the epipolar line."""

    rows: Tensor
    columns: Tensor
    distinct: Tensor

    def reversed(self) -> _Matches:
        return _Matches(self.columns, self.rows, self.distinct)


def matched_features(scene: Scene) -> list[Seen]:
    """Features of every training frame of a posed scene whose depth is sure, if nothing moved.

    Two other pictures must agree on the depth, or one if the match was the best by far in the whole picture.
    """
    cameras = scene.cameras
    features = [_detected(frame.image) for frame in scene.split("train")]
    matches: list[dict[int, _Matches]] = [{} for _ in cameras]
    for first, second in _pairs(cameras, scene.extent):
        found = _matched(features[first], features[second], _fundamental(cameras[first], cameras[second]))
        matches[first][second], matches[second][first] = found, found.reversed()
    return [_triangulated(cameras, features, index, found) for index, found in enumerate(matches)]


def _detected(image: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [N, 2] and RootSIFT descriptors [N, 128] of length 1 (Arandjelovic and Zisserman, CVPR 2012)."""
    import cv2

    gray = cv2.cvtColor((image.numpy().clip(0, 1) * 255).round().astype(np.uint8), cv2.COLOR_RGB2GRAY)
    # without the precise upscaling, places are a quarter of a pixel off
    detector = cv2.SIFT_create(FEATURES, contrastThreshold=CONTRAST, enable_precise_upscale=True)
    points, descriptors = detector.detectAndCompute(gray, None)
    if not points:
        return torch.zeros(0, 2), torch.zeros(0, 128)
    pixels = torch.tensor([point.pt for point in points]) + 0.5
    return pixels, torch.nn.functional.normalize(torch.from_numpy(descriptors), p=1, dim=1).sqrt()


def _pairs(cameras: list[Camera], extent: float) -> list[tuple[int, int]]:
    """Pairs of cameras that stand and look alike: near to each other, as are the points ``extent`` ahead of them; but
    not at the same place, from where nothing tells depth."""
    centers = torch.stack([camera.center for camera in cameras])
    ahead = centers + extent * torch.stack([camera.viewmat[2, :3] for camera in cameras])
    way = torch.cdist(centers, centers)
    apart = (way + torch.cdist(ahead, ahead)).masked_fill(way < SAME_PLACE * extent, torch.inf)
    nearest = apart.topk(min(NEIGHBORS, len(cameras) - 1), largest=False).indices
    chosen = torch.zeros_like(apart, dtype=torch.bool).scatter(1, nearest, True) & apart.isfinite()
    return [tuple(pair) for pair in (chosen | chosen.T).triu().nonzero().tolist()]


def _fundamental(first: Camera, second: Camera) -> Tensor:
    """F [3, 3] float32 with y^T F x = 0 for x in ``first`` and y in ``second``."""
    relative = second.viewmat.double() @ torch.linalg.inv(first.viewmat.double())
    x, y, z = relative[:3, 3].tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    essential = cross @ relative[:3, :3]
    return (torch.linalg.inv(second.K.double()).T @ essential @ torch.linalg.inv(first.K.double())).float()


def _matched(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], fundamental: Tensor) -> _Matches:
    """Mutually best matches near the epipolar lines that are better by ``RATIO`` than the next best there."""
    (here, describing), (there, described) = first, second
    if min(len(here), len(there)) < 2:
        nothing = torch.zeros(0, dtype=torch.long)
        return _Matches(nothing, nothing, nothing.bool())
    x, y = (torch.nn.functional.pad(pixels, (0, 1), value=1.0) for pixels in (here, there))
    lines = x @ fundamental.T
    off = (lines / lines[:, :2].norm(dim=1, keepdim=True)) @ y.T
    alike = describing @ described.T
    allowed = torch.where(off.abs_() < BAND, alike, -1.0)
    back = allowed.argmax(0)
    best, column = allowed.max(1)
    rows = torch.arange(len(here))
    good = (best > 0) & (back[column] == rows) & _better(allowed, best, column)
    rows, column, best = rows[good], column[good], best[good]
    return _Matches(rows, column, _better(alike[rows], best, column))


def _better(alike: Tensor, best: Tensor, column: Tensor) -> Tensor:
    """Rows [N] of ``alike`` [N, M] (cosines) whose distance at ``column`` is below ``RATIO`` times any other's."""
    second = alike.scatter(1, column[:, None], -1.0).max(1).values
    return 1 - best < RATIO**2 * (1 - second)


def _triangulated(cameras: list[Camera], features: list, index: int, matches: dict[int, _Matches]) -> Seen:
    """The features of picture ``index`` with the inverse depth that most of their matches agree on."""
    pixels, others = features[index][0], sorted(matches)
    if not others:
        return Seen(torch.zeros(0, 2), torch.zeros(0), torch.zeros(0))
    target = torch.zeros(len(others), 2, len(pixels))
    valid, distinct = torch.zeros(2, len(others), len(pixels), dtype=torch.bool)
    for slot, other in enumerate(others):
        found = matches[other]
        target[slot][:, found.rows] = features[other][0][found.columns].T
        valid[slot, found.rows] = True
        distinct[slot, found.rows] = found.distinct
    epipolar = Epipolar.between(cameras[index], [cameras[other] for other in others], pixels)
    # the same linear equations of the inverse depth as those of flow (fit_still)
    slope = target * epipolar.towards[:, 2:] - epipolar.towards[:, :2]
    value = epipolar.infinite[:, :2] - target * epipolar.infinite[:, 2:]
    slope2, both = slope.square().sum(1), (slope * value).sum(1)

    def agreeing(rho: Tensor) -> tuple[Tensor, Tensor]:
        places, ratio = epipolar.project(rho)
        return valid & (ratio > 0) & ((places - target).norm(dim=1) < AGREEMENT), ratio.clamp_min(1e-3)

    rho, votes = torch.zeros(len(pixels)), torch.zeros(len(pixels))
    for slot in range(len(others)):  # each match proposes a depth
        proposed = (both[slot] / slope2[slot].clamp_min(1e-12)).clamp_min(0)
        voting = agreeing(proposed)[0].sum(0) * valid[slot]
        rho, votes = torch.where(voting > votes, proposed, rho), torch.maximum(voting, votes)
    for _ in range(3):
        support, ratio = agreeing(rho)
        weight = support / ratio.square()
        information = (weight * slope2).sum(0).clamp_min(1e-12)
        rho = ((weight * both).sum(0) / information).clamp_min(0)
    deviation = information.rsqrt()
    sure = (support.sum(0) >= 2) | (support & distinct).any(0)
    sure &= (rho > 1e-6) & (FEATURE_NOISE * deviation < LARGEST_DEVIATION * rho)
    return Seen(pixels[sure], rho[sure], deviation[sure])
