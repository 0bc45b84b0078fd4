"""What a scene's truth says is to be found: objects, their parts, and where to click on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..scenes import BadInput, Frame, Scene
from .masks import inside_point, read_labels

LOOKED_AT = 8  # frames that are searched for what is there
ROOM = 2.0  # pixels that a click must lie inside a mask, lest it be on a border


@dataclass(frozen=True)
class Target:
    """Something to be found.

    Attributes:
        name: what it is called.
        kind: ``object`` or ``part``.
        layer, ids: the pixels whose ``layer`` (instance, part, label or mask) is one of ``ids``.
    """

    name: str
    kind: str
    layer: str
    ids: tuple[int, ...]

    def truth(self, frame: Frame) -> Tensor | None:
        """Where the frame shows it, bool [H, W]; None where the frame's truth is not known."""
        if not frame.has(self.layer):
            return None
        values = getattr(frame, self.layer).long()
        return torch.isin(values, torch.tensor(self.ids))

    def click(self, frames: Iterable[Frame]) -> tuple[Frame, tuple[float, float]]:
        """The first frame that shows it well and the pixel farthest inside it there.

        BadInput when no frame shows it.
        """
        shown = None
        for frame in frames:
            mask = self.truth(frame)
            if mask is None or not mask.any():
                continue
            pixel, depth = inside_point(mask)
            if depth >= ROOM:
                return frame, pixel
            shown = shown or (frame, pixel)
        if shown is None:
            raise BadInput(f"{self.name}: no training frame shows it")
        return shown


def targets(scene: Scene) -> list[Target]:
    """Objects and parts that the training frames' truth tells of; empty when there is none.

    Objects are the instances that move (all of them where motion is not marked), else the classes,
    else the foreground mask. Parts are all parts.
    """
    frames = scene.split("train")
    frames = frames[:: max(1, len(frames) // LOOKED_AT)]
    if any(frame.has("instance") for frame in frames):
        found = _instances(scene, frames)
    elif any(frame.has("label") for frame in frames):
        found = [
            Target(_named(scene.label_names, "class", number), "object", "label", (number,))
            for number in _ids(frames, "label")
        ]
    elif any(frame.has("mask") for frame in frames):
        found = [Target("foreground", "object", "mask", (1,))]
    else:
        found = []
    if any(frame.has("part") for frame in frames):
        taken = {target.name for target in found}
        for number in _ids(frames, "part"):
            name = _named(scene.part_names, "part", number)
            name = f"{name} (part)" if name in taken else name
            found.append(Target(name, "part", "part", (number,)))
    return found


def labelled(scene: Scene, folder: str | Path) -> Scene:
    """The scene with label pictures of ``folder`` as the instances of its frames.

    A picture belongs to the frame of the same name; where no name agrees, the sorted pictures
    belong to the training frames in order and must be as many. 0 is background.
    """
    from ..scenes.files import existing

    folder = existing(folder, folder=True)
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".png")
    if not pictures:
        raise BadInput(f"{folder}: expected PNG label pictures, found none")
    by_name = {path.stem: path for path in pictures}
    frames = list(scene.frames)
    matched = {
        i: by_name[Path(f.name).stem] for i, f in enumerate(frames) if Path(f.name).stem in by_name
    }
    if not matched:
        if len(pictures) != len(scene.train):
            raise BadInput(
                f"{folder}: no picture is named like a frame, and there are {len(pictures)} for "
                f"{len(scene.train)} training frames"
            )
        matched = dict(zip(scene.train, pictures, strict=True))
    for index, path in matched.items():
        labels = read_labels(path, frames[index].camera)
        frames[index] = frames[index].with_layers(
            instance=torch.where(labels > 0, labels, -1), part=None, mask=None
        )
    return replace(scene, frames=frames)


def _instances(scene: Scene, frames: list[Frame]) -> list[Target]:
    """Moving instances, each called by its class."""
    pixels: dict[int, list[float]] = {}
    classes: dict[int, list[int]] = {}
    for frame in frames:
        if not frame.has("instance"):
            continue
        instance = frame.instance
        for number in instance[instance >= 0].unique().tolist():
            mine = instance == number
            moving = frame.mask[mine].sum().item() if frame.has("mask") else mine.sum().item()
            count = pixels.setdefault(number, [0.0, 0.0])
            count[0] += moving
            count[1] += mine.sum().item()
            if frame.has("label"):
                classes.setdefault(number, []).append(frame.label[mine].mode().values.item())
    found = []
    for number, (moving, seen) in sorted(pixels.items()):
        if moving < 0.5 * seen:
            continue
        seen_as = classes.get(number)
        label = max(set(seen_as), key=seen_as.count) if seen_as else -1
        name = (
            scene.label_names[label] if 0 <= label < len(scene.label_names) else f"object {number}"
        )
        if any(other.name == name for other in found):
            name = f"{name} {number}"
        found.append(Target(name, "object", "instance", (number,)))
    return found


def _ids(frames: list[Frame], layer: str) -> list[int]:
    values = [getattr(frame, layer) for frame in frames if frame.has(layer)]
    return sorted({number for value in values for number in value[value >= 0].unique().tolist()})


def _named(names: list[str], kind: str, number: int) -> str:
    return names[number] if number < len(names) else f"{kind} {number}"
