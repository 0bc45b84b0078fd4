"""Labels of frames that have none, where image features tell their classes (pseudo-labels)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from .labels import label_map, labelled
from .scene import Scene

DRAWN = 2000  # pixels of a labelled frame, at most
EDGE = 0.25  # of a feature cell: pixels this near to another class are left out
DECAY = 1e-4  # of the classifier's squared weights


def with_pseudo_labels(scene: Scene, maps: Tensor, sure: float) -> Scene:
    """``scene`` with labels for those training frames that have none, -1 where their classes are not sure.

    A linear classifier of the features is fitted to the labelled frames. A class is given to pixels that it has a
    probability of at least ``sure`` at, away from the edges of classes, if it is right there in as large a share of
    pixels when fitted to one half of the labels and asked for the other: what features do not tell apart stays
    unlabelled. Labels that there are stay as they are.

    Args:
        maps: [T, C, h, w] features of the training frames, each over its whole picture. sure: in 0..1.
    """
    known, shown = labelled(scene), scene.split("train")
    if not known or len(known) == len(shown):
        return scene
    count = len(scene.label_names)
    features, labels, half = _examples(scene, known, maps)
    if len(labels.unique()) < 2:
        return scene
    usable = torch.ones(count, dtype=torch.bool)
    for side in (False, True):
        classifier = Classifier(features[half == side], labels[half == side], count)
        told, classes = classifier(features[half != side]).max(-1)
        told, truth = told >= sure, labels[half != side]
        right = torch.bincount(classes[told & (classes == truth)], minlength=count)
        usable &= (right > 0) & (right >= sure * torch.bincount(classes[told], minlength=count))
    classifier = Classifier(features, labels, count)
    frames = list(scene.frames)
    for position, index in enumerate(scene.train):
        if position not in known:
            size = shown[position].camera.height, shown[position].camera.width
            told, classes = classifier(_pixels(maps[position], size)).view(*size, -1).max(-1)
            sure_here = (told >= sure) & usable[classes] & _inner(classes, maps.shape[-2:])
            frames[index] = frames[index].with_layers(label=torch.where(sure_here, classes, -1))
    return replace(scene, frames=frames)


class Classifier:
    """Probabilities [P, C] of features [P, F] by multinomial logistic regression, fitted to ``features`` [N, F] of
    ``labels`` [N] among ``count``."""

    def __init__(self, features: Tensor, labels: Tensor, count: int):
        self.mean, self.spread = features.mean(0), features.std(0).clamp_min(1e-6)
        self.weight = torch.zeros(features.shape[1], count, requires_grad=True)
        self.bias = torch.zeros(count, requires_grad=True)
        optimizer = torch.optim.LBFGS([self.weight, self.bias], max_iter=200, line_search_fn="strong_wolfe")
        features = (features - self.mean) / self.spread

        def error() -> Tensor:
            optimizer.zero_grad()
            loss = functional.cross_entropy(features @ self.weight + self.bias, labels)
            loss = loss + DECAY * self.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(error)

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        return ((features - self.mean) / self.spread @ self.weight + self.bias).softmax(-1)


def _examples(scene: Scene, known: dict, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features [N, C] and labels [N] of labelled pixels, and which half they are of, [N] bool: of every other labelled
    frame, or, of a single one, every other column of cells."""
    generator = torch.Generator().manual_seed(0)
    features, labels, half = [], [], []
    for number, (position, frame) in enumerate(known.items()):
        truth = label_map(frame, len(scene.label_names)).flatten()
        chosen = (truth >= 0).nonzero()[:, 0]
        chosen = chosen[torch.randperm(len(chosen), generator=generator)[:DRAWN]]
        size = frame.camera.height, frame.camera.width
        features.append(_pixels(maps[position], size)[chosen])
        labels.append(truth[chosen])
        column = chosen % size[1] * maps.shape[-1] // size[1]
        half.append((column if len(known) == 1 else torch.full_like(chosen, number)) % 2 == 1)
    return torch.cat(features), torch.cat(labels), torch.cat(half)


def _pixels(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Features [C, h, w] at the pixels of a picture of ``size`` (height, width), [height width, C]."""
    whole = functional.interpolate(features.float()[None], size, mode="bilinear", align_corners=False)
    return whole[0].flatten(1).T


def _inner(classes: Tensor, cells: tuple[int, int]) -> Tensor:
    """Pixels [H, W] bool of ``classes`` [H, W] with none of another class near them."""
    height, width = classes.shape
    reach = max(1, round(EDGE * max(height / cells[0], width / cells[1])))
    around = functional.pad(classes[None, None].float(), (reach,) * 4, mode="replicate")
    most = functional.max_pool2d(around, 2 * reach + 1, 1)
    least = -functional.max_pool2d(-around, 2 * reach + 1, 1)
    return (most == least)[0, 0]
