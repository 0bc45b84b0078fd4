"""What moves, told by class: labels in place of motion masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..files import BadInput
from ..labels import label_map
from ..scene import Scene
from .masks import motion_masks

MOSTLY = 0.5  # of the pixels of a class move


def class_ids(names: Sequence[str], label_names: Sequence[str]) -> list[int]:
    """The ids of the classes ``names``; BadInput for one that is none of ``label_names``."""
    unknown = [name for name in names if name not in label_names]
    if unknown:
        known = ", ".join(label_names) or "none, since there are no labels"
        raise BadInput(f"moving: expected classes among {known}, got {unknown[0]!r}")
    return [label_names.index(name) for name in names]


def mostly_moving(scene: Scene) -> list[str]:
    """The classes most of whose pixels in the labelled training frames move, by :func:`.masks.motion_masks`."""
    count = len(scene.label_names)
    moving, whole = torch.zeros(count), torch.zeros(count)
    shown = scene.split("train")
    if not any(frame.has("label") for frame in shown):
        return []
    for frame, mask in zip(shown, motion_masks(scene), strict=True):
        if frame.has("label"):
            labels = label_map(frame, count)
            whole += torch.bincount(labels[labels >= 0], minlength=count)
            moving += torch.bincount(labels[mask & (labels >= 0)], minlength=count)
    return [scene.label_names[k] for k in (moving > MOSTLY * whole).nonzero()[:, 0].tolist()]


def with_moving(scene: Scene, names: Sequence[str], others_rest: bool = True) -> Scene:
    """``scene`` with the classes ``names`` as what moves in its training frames; as it is without any.

    Where a pixel has a label, its class decides: it moves, or it stands still; with ``others_rest`` False, pixels of
    other classes keep what :func:`.masks.motion_masks` says, as do frames and pixels without a label. No labels but
    those of the training frames are looked at, so that those of a scene that :meth:`LabelSplit.seen` has left some of
    tell nothing of others.

    Raises BadInput: an unknown class.
    """
    ids = torch.tensor(class_ids(names, scene.label_names))
    frames = list(scene.frames)
    if not names or not any(frames[index].has("label") for index in scene.train):
        return scene
    for index, moving in zip(scene.train, _moving(scene, ids, others_rest), strict=True):
        frames[index] = frames[index].with_layers(motion=moving)
    return replace(scene, frames=frames)


def _moving(scene: Scene, ids: Tensor, others_rest: bool) -> Tensor:
    """Masks [T, H, W] of the training frames."""
    camera, count = scene.cameras[0], len(scene.label_names)
    nothing = torch.full((camera.height, camera.width), -1)
    labels = torch.stack([label_map(f, count) if f.has("label") else nothing for f in scene.split("train")])
    moving = torch.isin(labels, ids)
    unknown = labels < 0 if others_rest else ~moving
    return torch.where(unknown, motion_masks(scene), moving) if unknown.any() else moving
