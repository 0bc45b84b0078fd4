"""What the field has to beat: the 2D teacher alone, frame by frame, without any 3D."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..scenes import Frame, Scene
from .likeness import Likeness
from .queries import pixel_index
from .scores import Prediction, mask_quality
from .targets import Target, targets


class ClickedCell:
    """A target as the teacher sees it: the feature of the cell that a click falls into.

    The click is the same that the field gets, and scores are made in the same way, from the maps of
    the training frames instead of from Gaussians.
    """

    def __init__(self, maps: Sequence[Tensor], prototypes: Tensor, target: Target, frames: Sequence[Frame]):
        self.prototypes = prototypes
        frame, pixel = target.click(frames)
        row, column = pixel_index(frame.camera, pixel)
        features = maps[frames.index(frame)]
        height, width = features.shape[:2]
        self.query = features[row * height // frame.camera.height, column * width // frame.camera.width]
        self.grain = "part" if target.kind == "part" else "whole"

    def mask(self, features: Tensor, frame: Frame) -> Tensor:
        """Where the scores of a map [h, w, D], bilinearly enlarged to the frame, are positive."""
        cells = Likeness(features.flatten(0, 1), self.prototypes).contrast(self.query, self.grain)
        size = (frame.camera.height, frame.camera.width)
        cells = cells.view(1, 1, *features.shape[:2])
        scores = torch.nn.functional.interpolate(cells, size, mode="bilinear")[0, 0]
        return scores >= 0


@torch.no_grad()
def teacher_alone(scene: Scene, teacher, found: Sequence[Target] | None = None) -> dict:
    """Masks from the teacher's own maps of each frame, scored as the field's are.

    Returns ``masks`` (held-out frames, where there are any) and ``masks_train``, as
    :func:`.scores.mask_quality` gives them.
    """
    found = targets(scene) if found is None else found
    train = scene.split("train")
    maps = [teacher.of_frame(frame).float() for frame in train]
    prototypes = Likeness(torch.cat([m.flatten(0, 1) for m in maps])).prototypes
    clicked = {target.name: ClickedCell(maps, prototypes, target, train) for target in found}

    def predict(frame: Frame) -> Prediction:
        features = teacher.of_frame(frame).float()
        return {name: cell.mask(features, frame) for name, cell in clicked.items()}

    result = {"masks_train": mask_quality(scene.split("train"), found, predict)}
    if scene.test:
        result["masks"] = mask_quality(scene.split("test"), found, predict)
    return result
