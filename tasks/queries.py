"""From what a person points at to a score for every Gaussian: clicks, words, pixel masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..fields.gaussians.state import GaussianState
from ..scenes import BadInput, Camera
from .likeness import Likeness

# What a prompt is weighed against (LERF, Kerr et al. 2023).
NEGATIVES = ("object", "things", "stuff", "texture")

SEEN = 0.1  # accumulated weight, in pixels, from which a Gaussian counts as seen


def pixel_index(camera: Camera, pixel: tuple[float, float]) -> tuple[int, int]:
    """Row and column of a pixel position (x, y); BadInput when it lies outside the image."""
    x, y = pixel
    if not (0 <= x < camera.width and 0 <= y < camera.height):
        raise BadInput(
            f"click: ({x:g}, {y:g}) is outside the image, "
            f"expected 0 <= x < {camera.width} and 0 <= y < {camera.height}"
        )
    return int(y), int(x)


@torch.no_grad()
def clicked_gaussian(state: GaussianState, camera: Camera, pixel: tuple[float, float]) -> int:
    """The Gaussian of strongest weight T*alpha at a pixel (DGD, section 3.3)."""
    row, column = pixel_index(camera, pixel)
    ids, _ = state.contributors(camera, 1)
    chosen = int(ids[row, column, 0])
    if chosen < 0:
        raise BadInput(f"click: the field shows nothing at ({pixel[0]:g}, {pixel[1]:g})")
    return chosen


@torch.no_grad()
def patch_feature(
    field, state: GaussianState, camera: Camera, pixel: tuple[float, float], size: int = 5
) -> Tensor:
    """Mean feature of what ``size`` x ``size`` pixels around a pixel show, [D].

    Each Gaussian counts by the square of its accumulated weight T*alpha there: what is clicked fills
    most of the window, while what shines through or reaches in from beside it adds up from many.
    """
    row, column = pixel_index(camera, pixel)
    window = crop(camera, column - size // 2, row - size // 2, size, size)
    ones = torch.ones(window.height, window.width, 1).to(state.means)
    weight = state.uplift(ones, window)[1]
    if weight.sum() < 1e-3:
        raise BadInput(f"click: the field shows nothing at ({pixel[0]:g}, {pixel[1]:g})")
    share = weight.square() / weight.square().sum()
    return field.decode(share @ state.features)


def crop(camera: Camera, left: int, top: int, width: int, height: int) -> Camera:
    """The camera of a window of the image, cut to what lies inside it."""
    right, bottom = min(left + width, camera.width), min(top + height, camera.height)
    left, top = max(left, 0), max(top, 0)
    K = camera.K.clone()
    K[0, 2] -= left
    K[1, 2] -= top
    return replace(camera, K=K, width=right - left, height=bottom - top)


def text_scores(
    likeness: Likeness, teacher, prompts: Sequence[str], negatives: Sequence[str] = NEGATIVES
) -> tuple[Tensor, Tensor]:
    """Relevance of every Gaussian to the best of the prompts, and that prompt's embedding.

    The cosine with the prompt less the largest with a canonical negative: LERF's relevancy (eq. 3)
    before its softmax, which would squeeze everything relevant into one score. Above 0 means rather
    the prompt than any negative. Returns scores [N] and, of the prompt with the highest, the
    embedding [D].
    """
    query = teacher.text(list(prompts))
    scores = likeness.cosine(query)
    if negatives:
        rivals = likeness.cosine(teacher.text(list(negatives))).amax(1, keepdim=True)
        scores = torch.where(scores > -1, scores - rivals, -1.0)
    best = int(scores.amax(0).argmax())
    return scores.amax(1), query[best]


@torch.no_grad()
def mask_share(field, views: Iterable[tuple[Camera, float, Tensor]]) -> tuple[Tensor, Tensor]:
    """How much of what each Gaussian shows lies inside masks: shares [N] and weights [N].

    ``views`` are (camera, time, mask [H, W]). The share is sum(T alpha mask) / sum(T alpha) over
    all pixels of all views, the weight its denominator in pixels (DGD's pixel selection).
    """
    inside, total = 0.0, 0.0
    for camera, time, mask in views:
        if mask.shape != (camera.height, camera.width):
            raise BadInput(
                f"mask: it is {mask.shape[1]}x{mask.shape[0]}, "
                f"expected {camera.width}x{camera.height} as the frame is"
            )
        if not mask.any():
            raise BadInput("mask: empty, expected at least one pixel")
        state = field.at(time)
        sums, weights = state.uplift(mask.to(state.means)[..., None], camera)
        inside, total = inside + sums[:, 0], total + weights
    return inside / total.clamp_min(1e-12), total


@torch.no_grad()
def moving(field) -> Tensor:
    """Which Gaussians are not at the same place all the time, [N] bool."""
    start = field.at(0.0).means
    return torch.stack([(field.at(t).means - start).norm(dim=-1) for t in (0.25, 0.5, 0.75, 1.0)]).amax(0) > 1e-6


def calibrated_threshold(scores: Tensor, share: Tensor, weight: Tensor) -> float:
    """The score that best separates a mask from the rest of its picture.

    Maximises the intersection over union, in accumulated weight, of the Gaussians that reach the
    threshold with the mask. ``scores``, ``share`` and ``weight`` are [N] as from
    :func:`mask_share`.
    """
    order = scores.argsort(descending=True)
    inside = (share * weight)[order].double()
    outside = ((1 - share) * weight)[order].double()
    iou = inside.cumsum(0) / (inside.sum() + outside.cumsum(0)).clamp_min(1e-12)
    # What the picture hardly shows leaves a plateau of nearly equally good cuts: take its middle.
    best = (iou >= 0.99 * iou.max()).nonzero().flatten()
    ranked = scores[order]
    after = ranked[min(int(best[-1]) + 1, len(ranked) - 1)]
    return ((ranked[int(best[0])] + after) / 2).item()
