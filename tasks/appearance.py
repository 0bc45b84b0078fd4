"""What tells a thing from its surroundings in a teacher's maps, learned from masks of a few frames."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 1.0  # regularisation, in mean variances of a feature


class Appearance:
    """A linear discriminant of map cells inside masks against those outside, by regularised least squares.

    Fitted to +1 inside and -1 outside, where both weigh the same however large the mask, it is Fisher's discriminant
    (Hastie, Tibshirani, Friedman: The Elements of Statistical Learning, exercise 4.2). Only moments are kept, so that
    examples can be added one by one.
    """

    def __init__(self) -> None:
        self.square, self.target, self.weight = 0.0, 0.0, 0.0

    def add(self, features: Tensor, mask: Tensor, weight: float = 1.0) -> None:
        """An example: the map [h, w, D] of a frame, and the mask [H, W] bool of the thing there.

        A mask that is empty, or smaller than a cell, or covers everything, tells nothing.
        """
        cells = features.float().flatten(0, 1)
        inside = torch.nn.functional.adaptive_avg_pool2d(mask[None, None].float(), features.shape[:2]).flatten() > 0.5
        if not inside.any() or inside.all():
            return
        share = torch.where(inside, 0.5 / inside.sum(), 0.5 / (~inside).sum())
        cells = torch.cat([cells, cells.new_ones(len(cells), 1)], 1)
        weighted = cells * share[:, None]
        self.square = self.square + weight * weighted.T @ cells
        self.target = self.target + weight * weighted.T @ torch.where(inside, 1.0, -1.0)
        self.weight += weight

    def copy(self) -> Appearance:
        """The same examples, to which others can be added."""
        new = Appearance()
        new.square, new.target, new.weight = self.square, self.target, self.weight
        return new

    def __call__(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """For each pixel of a frame with this map, from -1 (surroundings) to 1 (the thing): [H, W].

        0 everywhere without examples.
        """
        if not self.weight:
            return torch.zeros(size)
        square, target = self.square / self.weight, self.target / self.weight
        mean, level = square[-1, :-1], target[-1]
        scatter = square[:-1, :-1] - mean[:, None] * mean
        scatter = scatter + RIDGE * scatter.diagonal().mean().clamp_min(1e-12) * torch.eye(len(scatter))
        direction = torch.linalg.solve(scatter, target[:-1] - level * mean)
        scores = (features.float() - mean) @ direction + level
        return torch.nn.functional.interpolate(scores[None, None], size, mode="bilinear")[0, 0].clamp(-1, 1)
