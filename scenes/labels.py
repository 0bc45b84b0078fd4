"""Class labels of frames: what the classes are called, and maps whose ids are among them."""

from __future__ import annotations

from torch import Tensor

from .files import BadInput
from .scene import Frame, Scene


def class_names(scene: Scene) -> list[str]:
    """Names of the classes by id: the scene's own, else ``class 0``... up to the largest id of a training frame.

    BadInput when no training frame has labels.
    """
    frames = [frame for frame in scene.split("train") if frame.has("label")]
    if not frames:
        raise BadInput(f"{scene.name}: label: no training frame has labels")
    if scene.label_names:
        return list(scene.label_names)
    return [f"class {number}" for number in range(1 + max(int(frame.label.max()) for frame in frames))]


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
