"""Which pixels of a video show something that moves."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..scene import Scene
from .background import changed_masks
from .evidence import dilated, flow_masks
from .given import as_large
from .jumps import jumping


def motion_masks(scene: Scene, dilate: int = 0) -> Tensor:
    """Masks [T, H, W] bool of what moves in the training frames, widened by ``dilate`` pixels.

    As the frames bring it along (layer ``motion``), if all of them do. Else from flow that no still world explains
    (:func:`.evidence.flow_masks`); where the cameras are known, corrected by how the still world looks in other
    frames (:func:`.background.changed_masks`). Nothing is told to move by a single frame, or where known cameras
    jump. Kept with ``scene`` while it lives.
    """
    frames = scene.split("train")
    if all(frame.has("motion") for frame in frames):
        return torch.from_numpy(np.stack([dilated(as_large(frame, "motion").numpy(), dilate) for frame in frames]))
    if len(scene.train) < 2 or jumping(scene):
        camera = scene.cameras[0]
        return torch.zeros(len(scene.train), camera.height, camera.width, dtype=torch.bool)
    if not scene.posed:
        return flow_masks(scene, posed=False, dilate=dilate)
    masks = getattr(scene, "_motion_masks", None)
    if masks is None or len(masks) != len(scene.train):
        masks = scene._motion_masks = changed_masks(scene)
    return torch.from_numpy(np.stack([dilated(mask, dilate) for mask in masks]))
