"""``semaflow perceive labels``: a scene without labels gets those that a perception field gives its frames."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..fields.perception.field import PerceptionField
from ..fields.perception.views import views_of
from ..scenes import BadInput, Frame, Scene, load
from ..scenes.labels import in_classes, with_classes
from ..scenes.store import replaceable
from .progress import bar, console

SHOWN = 8  # classes that are told of at the end, the commonest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the step, but those that all steps have."""
    parser.add_argument("run", help="run folder of perceive train or tune")
    parser.add_argument("scene", help="video or scene, moving or not")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="scene folder to make")
    parser.add_argument("--rendered", action="store_true", help="from the views around a frame, not from its picture")
    parser.add_argument("--window", type=float, help="how far in time views rendered from may be; as trained if absent")


def label(folder: str | Path, source: str | Path, output: str | Path, format: str | None = None,
          options: dict | None = None, rendered: bool = False, window: float | None = None) -> Scene:
    """Write the scene at ``source`` with labels of its training frames, by the perception field of the run ``folder``.

    ``output`` is a saved scene like any other, which ``fit``, ``complete`` and ``follow`` take: the frames with all
    that is known of them, a picture of class ids beside each, and the names of the classes.

    Args:
        format, options: as for ``scenes.load``.
        rendered: classes are rendered from the views around a frame, for which the scene needs cameras and depth or
            points; otherwise they are read from the frame's own picture.
        window: how far in time a view that is rendered from may be, of 0..1; None: as the field was trained.

    Raises BadInput: no run of a perception field, one that knows no classes, an unusable scene, other files in
    ``output``.
    """
    from .perceive import opened

    field = opened(folder).field
    if field.head is None:
        raise BadInput(f"{folder}: this field has learned no classes")
    replaceable(output)
    scene = load(source, format, **(options or {}))
    if rendered:
        if not scene.posed:
            raise BadInput(f"{source}: cameras: none are known, expected some to render labels from other views")
        field.look_at(views_of(scene, window=field.config.window if window is None else window))
    labelled = with_labels(field, scene, rendered)
    labelled.save(output)
    console.print(f"written: {output}: {told(labelled)}", highlight=False, markup=False, soft_wrap=True)
    return labelled


def with_labels(field: PerceptionField, scene: Scene, rendered: bool = False) -> Scene:
    """``scene`` with the classes of ``field`` as labels of its training frames.

    True labels of test frames are kept if all classes of the scene are among those of the field.
    """
    scene = with_classes(scene)
    if not set(scene.label_names) <= set(field.label_names):
        scene = replace(scene, frames=[frame.with_layers(label=None) for frame in scene.frames], label_names=[])
    frames = list(in_classes(scene, field.label_names).frames)
    with bar() as progress:
        task = progress.add_task("labels", total=len(scene.train), note="")
        for index in progress.track(scene.train, task_id=task):
            frames[index] = frames[index].with_layers(label=classes(field, frames[index], rendered))
    return replace(scene, frames=frames, label_names=list(field.label_names))


def classes(field: PerceptionField, frame: Frame, rendered: bool = False) -> Tensor:
    """Class ids int64 [H, W] of ``frame``, of its own picture or ``rendered`` from what the field looks at."""
    if rendered:
        return field.render(frame.camera, frame.time, ("logits",)).labels.cpu()
    return field.classify(frame.image).argmax(-1).cpu()


def told(scene: Scene) -> str:
    """How much of the training frames the commonest classes cover."""
    counts = sum(torch.bincount(f.label.flatten(), minlength=len(scene.label_names)) for f in scene.split("train"))
    share = counts / counts.sum()
    order = [k for k in share.argsort(descending=True).tolist() if share[k] > 0][:SHOWN]
    return ", ".join(f"{scene.label_names[k]} {share[k]:.0%}" for k in order)
