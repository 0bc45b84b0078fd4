"""Measure a field: pictures, masks and tracks against the truth, time, memory, size."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from ..fields import metrics
from ..scenes import BadInput, Frame, Scene
from ..scenes.files import read_json, write_json
from ..scenes.splits import LabelSplit
from .likeness import Likeness
from .masks import object_masks
from .progress import console
from .scores import (
    Prediction,
    Remembered,
    image_quality,
    instance_quality,
    label_figures,
    label_score,
    mask_quality,
    track_quality,
)
from .select import by_click
from .selection import Selection
from .targets import Target, labelled, targets


@torch.no_grad()
def select_targets(
    field, scene: Scene, found: Sequence[Target], objects: Sequence[Selection] = ()
) -> tuple[dict[str, Selection], dict[str, dict]]:
    """A selection for each target, by name, and how each was made.

    One of ``objects`` serves where it has the target's name or overlaps it well in the frame in
    which the target would be clicked. The others are selected by one click, on the pixel farthest
    inside the target in the first training frame that shows it.
    """
    selections, how = {}, {}
    likeness = None if field.semantics() is None else Likeness.of(field)
    clicks = [target.click(scene.split("train")) for target in found]
    fitting = _fitting(field, found, [frame for frame, _ in clicks], objects)
    for target, (frame, pixel) in zip(found, clicks, strict=True):
        chosen = fitting.get(target.name)
        if chosen is None:
            try:
                grain = "part" if target.kind == "part" else "whole"
                chosen = by_click(field, frame, pixel, "target", grain=grain, likeness=likeness)
            except BadInput as error:
                how[target.name] = {"how": f"not found: {error}", "gaussians": 0}
                continue
        selections[target.name] = chosen
        how[target.name] = {
            "how": chosen.how,
            "threshold": chosen.threshold,
            "gaussians": int(chosen.selected.sum()),
        }
    return selections, how


def _fitting(
    field, found: Sequence[Target], frames: Sequence[Frame], objects: Sequence[Selection]
) -> dict[str, Selection]:
    """The object that stands for each target, by name: the one so called, else the best overlap.

    An object stands for one target, the one it overlaps most.
    """
    if not objects or not found:
        return {}
    selected = torch.stack([chosen.selected for chosen in objects], 1)
    overlap = torch.zeros(len(found), len(objects))
    for i, (target, frame) in enumerate(zip(found, frames, strict=True)):
        masks = object_masks(field.at(frame.time), selected, frame.camera) > 0.5
        truth = target.truth(frame)
        for j, chosen in enumerate(objects):
            same = chosen.name == target.name
            overlap[i, j] = 2.0 if same else metrics.jaccard(masks[..., j], truth)
    fitting = {}
    for i, target in enumerate(found):
        mine = torch.where(overlap.argmax(0) == i, overlap[i], 0.0)
        if mine.max() > 0.2:
            fitting[target.name] = objects[int(mine.argmax())]
    return fitting


def field_masks(field, frame: Frame, selections: dict[str, Selection]) -> Prediction:
    """The masks that the field draws of the selections in a frame."""
    if not selections:
        return {}
    selected = torch.stack([chosen.selected for chosen in selections.values()], 1)
    masks = object_masks(field.at(frame.time), selected, frame.camera) > 0.5
    return {name: masks[..., i] for i, name in enumerate(selections)}


def labels_quality(field, scene: Scene, split: LabelSplit) -> dict:
    """Scores of the classes of ``field``, where it knows any, in the frames that ``split`` leaves to be tested.

    Returns ``labels`` of test cameras and ``labels_train`` of training cameras, as from :func:`label_figures`, and
    ``labels_unseen`` of both together where ``split`` leaves frames of both; without those that no frame has labels
    for.
    """
    if not field.label_names:
        return {}
    tested = split.tested(scene)
    scores = {"labels": tested["test"], "labels_train": tested["train"]}
    scores = {key: label_score(field, frames, scene.label_names) for key, frames in scores.items()}
    if all(score.images for score in scores.values()):
        scores["labels_unseen"] = scores["labels"] + scores["labels_train"]
    figures = {key: label_figures(score, scene.label_names) for key, score in scores.items()}
    return {key: quality for key, quality in figures.items() if quality}


def things_quality(field, scene: Scene) -> dict:
    """``instances`` of the test frames as from :func:`instance_quality`; empty where that is."""
    found = instance_quality(field, scene.split("test"))
    return {"instances": found} if found else {}


def field_quality(field, scene: Scene, split: LabelSplit | None = None) -> dict:
    """Pictures, classes and single things of the held-out frames, as from :func:`image_quality`,
    :func:`labels_quality` and :func:`things_quality`.

    ``split`` is that of the labels that the field was made with; None: all.
    """
    shown = Remembered(field)
    pictures = image_quality(shown, scene) if scene.test else {}
    labels = labels_quality(shown, scene, split or LabelSplit.full(len(scene.train)))
    return pictures | labels | things_quality(field, scene)


def evaluate(field, scene: Scene, objects: Sequence[Selection] = (), train: bool = True,
             split: LabelSplit | None = None) -> dict:
    """Everything that the scene's truth allows to be measured of a field.

    Args:
        objects: selections to score; targets without one are selected by a click.
        train: also score pictures and masks of the training frames.
        split: of the labels that the field was made with; None: all.

    Returns:
        ``psnr``, ``ssim``, ``lpips``... of the held-out frames (of the training frames where none
        are held out; ``held_out`` says which), ``train`` the same of the training frames;
        ``selected`` how each target was selected; ``masks`` and ``masks_train`` as from
        :func:`mask_quality`; ``labels``, ``labels_train`` and ``labels_unseen`` as from
        :func:`labels_quality`; ``instances`` as from :func:`instance_quality`; ``tracks`` as from
        :func:`track_quality`; ``gaussians``; ``eval_seconds``.
    """
    start = time.perf_counter()
    result: dict = {"held_out": bool(scene.test)}
    shown = Remembered(field)
    result.update(image_quality(shown, scene, "test" if scene.test else "train"))
    if train and scene.test:
        result["train"] = image_quality(shown, scene, "train")
    found = targets(scene)
    if found and (objects or field.semantics() is not None):
        selections, result["selected"] = select_targets(field, scene, found, objects)

        def predict(frame: Frame) -> Prediction:
            return field_masks(field, frame, selections)

        if scene.test:
            result["masks"] = mask_quality(scene.split("test"), found, predict)
        if train or not scene.test:
            result["masks_train"] = mask_quality(scene.split("train"), found, predict)
    result.update(labels_quality(shown, scene, split or LabelSplit.full(len(scene.train))))
    result.update(things_quality(field, scene))
    if scene.tracks is not None:
        result["tracks"] = track_quality(field, scene, found)
    result[field.primitives] = field.count
    result["eval_seconds"] = time.perf_counter() - start
    return result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``semaflow eval``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--labels", type=Path, metavar="DIR", help="label pictures of the frames")
    parser.add_argument("--clip", metavar="NAME", help="which video of a run of several; the first if absent")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--baselines", action="store_true", help="also score the teacher alone, frame by frame")


def run(args: argparse.Namespace) -> None:
    """``semaflow eval``: prints a table and adds the figures to ``metrics.json`` of the run, those of a video that was
    asked for by name to its entry in ``clips``."""
    from .baselines import teacher_alone
    from .fit import machine, peak_memory
    from .report import print_table
    from .run import Run

    opened = Run.open(args.run)
    field, scene = opened.clip(args.clip)
    scene = scene if args.labels is None else labelled(scene, args.labels)
    objects = [opened.object(name) for name in opened.objects()]
    figures = evaluate(field, scene, objects, split=opened.split if opened.split.unseen else None)
    if args.baselines:
        figures["teacher_alone"] = teacher_alone(scene, opened.teacher())
    path = opened.folder / "metrics.json"
    before = read_json(path) if path.exists() else {"peak_memory_mb": peak_memory()}
    if "lpips" in figures:
        before.pop("lpips_missing", None)
    size = sum(file.stat().st_size for file in opened.folder.glob("field.safetensors"))
    of_run = {"bytes_on_disk": size, "machine": machine()}
    if args.clip is None:
        figures = {**before, **figures, **of_run}
        write_json(path, figures)
    else:
        write_json(path, {**before, "clips": {**before.get("clips", {}), args.clip: figures}, **of_run})
    if args.json is not None:
        write_json(args.json, figures)
    print_table(figures)
    console.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)
