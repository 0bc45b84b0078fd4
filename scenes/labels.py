"""Class labels of frames: what the classes are called, and maps whose ids are among them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .files import BadInput
from .scene import Frame, Scene


def with_classes(scene: Scene) -> Scene:
    """``scene`` with names for the classes of its labels, ``class 0``... where it has none; as it is without labels.

    BadInput: a frame's labels are none of the named classes, or not of its picture's size.
    """
    frames = [frame for frame in scene.frames if frame.has("label")]
    if frames and not scene.label_names:
        count = 1 + max(int(frame.label.max()) for frame in frames)
        scene = replace(scene, label_names=[f"class {number}" for number in range(count)])
    for frame in frames:
        label_map(frame, len(scene.label_names))
    return scene


def common_classes(scenes: list[Scene]) -> list[Scene]:
    """The scenes with labels of the same classes: those of all of them, told apart by name, in order of appearance."""
    names: list[str] = []
    for scene in scenes:
        names += [name for name in scene.label_names if name not in names]
    return [in_classes(scene, names) for scene in scenes]


def in_classes(scene: Scene, names: list[str]) -> Scene:
    """``scene`` with its labels as ids among ``names``; BadInput for a class that is none of them."""
    unknown = [name for name in scene.label_names if name not in names]
    if unknown:
        raise BadInput(f"{scene.name}: labels: expected classes among {', '.join(names)}, got {unknown[0]!r}")
    if scene.label_names == list(names):
        return scene
    table = torch.tensor([*(names.index(name) for name in scene.label_names), -1])

    def renamed(frame: Frame) -> Frame:
        if not frame.has("label"):
            return frame
        return frame.with_layers(label=lambda: table[label_map(frame, len(table) - 1)])

    return replace(scene, frames=[renamed(frame) for frame in scene.frames], label_names=list(names))


def labelled(scene: Scene) -> dict[int, Frame]:
    """The training frames that have labels, by position among them."""
    return {position: frame for position, frame in enumerate(scene.split("train")) if frame.has("label")}


def label_map(frame: Frame, classes: int) -> Tensor:
    """The labels of ``frame``, int64 [H, W], -1 where unlabelled.

    BadInput: a map of another size than the picture, or an id that is none of the ``classes``.
    """
    labels, camera = frame.label, frame.camera
    if labels.shape != (camera.height, camera.width):
        size = "x".join(str(length) for length in labels.shape[::-1])
        raise BadInput(f"{frame.name}: label: expected {camera.width}x{camera.height} pixels, got {size}")
    least, most = int(labels.min()), int(labels.max())
    if least < -1 or most >= classes:
        wrong = least if least < -1 else most
        raise BadInput(f"{frame.name}: label: expected ids in -1..{classes - 1}, got {wrong}")
    return labels.long()
