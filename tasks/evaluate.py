"""Measure a field: pictures, masks and tracks against the truth, time, memory, size."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as default
from pathlib import Path

import torch
from torch import Tensor

from ..fields import metrics
from ..fields.losses import ssim
from ..scenes import BadInput, Frame, Scene
from ..scenes.files import read_json, write_json
from .likeness import Likeness
from .masks import object_masks
from .progress import bar, console
from .select import by_click
from .selection import Selection
from .targets import Target, labelled, targets

Prediction = dict[str, Tensor]  # masks [H, W] bool by the target's name


@dataclass
class MaskScore:
    """J and F of one target, gathered over frames."""

    jaccards: list[float] = default(default_factory=list)
    boundaries: list[float] = default(default_factory=list)

    def add(self, mask: Tensor, truth: Tensor) -> None:
        """Count a frame in which the target is to be seen."""
        if truth.any():
            self.jaccards.append(metrics.jaccard(mask, truth))
            self.boundaries.append(metrics.boundary_f(mask, truth))

    def summary(self) -> dict:
        """Means over the frames, and how many they were; empty when there were none."""
        if not self.jaccards:
            return {}
        count = len(self.jaccards)
        return {
            "iou": sum(self.jaccards) / count,
            "boundary_f": sum(self.boundaries) / count,
            "frames": count,
        }


@torch.no_grad()
def image_quality(field, scene: Scene, split: str = "test") -> dict:
    """Mean PSNR, SSIM and LPIPS of a split's rendered frames.

    ``lpips_missing`` says why LPIPS is not there. ``render_seconds`` is the mean time of a frame.
    """
    from ..fields.perceptual import SMALLEST, Lpips

    frames = scene.split(split)
    if not frames:
        raise BadInput(f"eval: the scene has no {split} frames")
    perceptual, missing = None, None
    if min(frames[0].camera.width, frames[0].camera.height) < SMALLEST:
        missing = f"needs pictures of at least {SMALLEST} pixels on each side"
    else:
        perceptual = Lpips.load()
        missing = None if perceptual else "no weights: set SEMAFLOW_DATA, see semaflow doctor"
    values: dict[str, list[float]] = {"psnr": [], "ssim": [], "lpips": []}
    seconds = 0.0
    with bar() as progress:
        task = progress.add_task(f"pictures, {split}", total=len(frames), note="")
        for frame in progress.track(frames, task_id=task):
            start = time.perf_counter()
            image = field.render(frame.camera, frame.time).color.clamp(0, 1).cpu()
            seconds += time.perf_counter() - start
            values["psnr"].append(metrics.psnr(image, frame.image))
            values["ssim"].append(ssim(image, frame.image).item())
            if perceptual is not None:
                values["lpips"].append(perceptual(image, frame.image))
    result: dict = {name: sum(v) / len(v) for name, v in values.items() if v}
    if missing:
        result["lpips_missing"] = missing
    return {**result, "frames": len(frames), "render_seconds": seconds / len(frames)}


def select_targets(
    field, scene: Scene, found: Sequence[Target], objects: Sequence[Selection] = ()
) -> tuple[dict[str, Selection], dict[str, dict]]:
    """A selection for each target, by name, and how each was made.

    One of ``objects`` serves where it has the target's name, or overlaps it most in the frame in
    which the target would be clicked. The others are selected by one click, on the pixel farthest
    inside the target in the first training frame that shows it.
    """
    selections, how = {}, {}
    likeness = None if field.semantics() is None else Likeness.of(field)
    for target in found:
        frame, pixel = target.click(scene.split("train"))
        chosen = _matching(field, frame, target, objects)
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


def _matching(
    field, frame: Frame, target: Target, objects: Sequence[Selection]
) -> Selection | None:
    for chosen in objects:
        if chosen.name == target.name:
            return chosen
    if not objects:
        return None
    selected = torch.stack([chosen.selected for chosen in objects], 1)
    masks = object_masks(field.at(frame.time), selected, frame.camera) > 0.5
    truth = target.truth(frame)
    overlaps = [metrics.jaccard(masks[..., i], truth) for i in range(len(objects))]
    best = max(range(len(objects)), key=overlaps.__getitem__)
    return objects[best] if overlaps[best] > 0.2 else None


def field_masks(field, frame: Frame, selections: dict[str, Selection]) -> Prediction:
    """The masks that the field draws of the selections in a frame."""
    if not selections:
        return {}
    selected = torch.stack([chosen.selected for chosen in selections.values()], 1)
    masks = object_masks(field.at(frame.time), selected, frame.camera) > 0.5
    return {name: masks[..., i] for i, name in enumerate(selections)}


@torch.no_grad()
def mask_quality(frames: Sequence[Frame], found: Sequence[Target], predict) -> dict:
    """Scores of predicted masks against the truth of ``frames``.

    ``predict`` gives a frame's :data:`Prediction`; a target that is not in it counts as not found
    (an empty mask).

    Returns:
        ``targets``: ``iou`` (mean over the frames that show it), ``boundary_f`` and ``frames`` of
        each; ``objects`` and ``parts``: their means over the targets of that kind; ``accuracy`` and
        ``miou`` of the picture divided into objects and everything else.
    """
    scores = {target.name: MaskScore() for target in found}
    whole = [target for target in found if target.kind == "object"]
    matrix = torch.zeros(len(whole) + 1, len(whole) + 1, dtype=torch.long)
    with bar() as progress:
        task = progress.add_task("masks", total=len(frames), note="")
        for frame in progress.track(frames, task_id=task):
            known = {target.name: target.truth(frame) for target in found}
            if all(truth is None for truth in known.values()):
                continue
            predicted = predict(frame)
            empty = torch.zeros(frame.camera.height, frame.camera.width, dtype=torch.bool)
            for name, truth in known.items():
                if truth is not None:
                    scores[name].add(predicted.get(name, empty), truth)
            ours, theirs = torch.zeros_like(empty).long(), torch.zeros_like(empty).long()
            for number, target in enumerate(whole, 1):
                if known[target.name] is not None:
                    theirs[known[target.name]] = number
                    ours[predicted.get(target.name, empty)] = number
            matrix += metrics.confusion(theirs, ours, len(whole) + 1)
    per_target = {name: score.summary() for name, score in scores.items()}
    result: dict = {"targets": per_target}
    for kind in ("object", "part"):
        rows = [per_target[target.name] for target in found if target.kind == kind]
        rows = [row for row in rows if row]
        if rows:
            result[f"{kind}s"] = {
                key: sum(row[key] for row in rows) / len(rows) for key in ("iou", "boundary_f")
            }
    if whole and matrix.sum():
        result["accuracy"] = metrics.accuracy(matrix)
        result["miou"] = metrics.mean_iou(matrix)
    return result


@torch.no_grad()
def track_quality(field, scene: Scene, found: Sequence[Target]) -> dict:
    """3D errors of the field's trajectories for points of each object.

    Points start at the first training frame that shows any of the object's; those that it shows are
    followed through all frames. ``visible`` counts only the times at which a point is in sight.
    """
    tracks = scene.tracks
    result: dict = {"objects": {}}
    pools: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    wanted = [target for target in found if target.layer == "instance"]
    with bar() as progress:
        task = progress.add_task("tracks", total=len(wanted), note="")
        for target in progress.track(wanted, task_id=task):
            mine = torch.isin(tracks.instance, torch.tensor(target.ids))
            shown = tracks.visible[mine].any(0).nonzero()
            if not len(shown):
                continue
            start = int(shown[0])
            size = metrics.diameter(tracks.positions[mine][:, start])
            points = mine & tracks.visible[:, start]
            truth = tracks.positions[points]
            time_at_start = float(tracks.times[start])
            begin = truth[:, start].to(field.at(time_at_start).means)
            moved = field.trajectories(begin, time_at_start, tracks.times).cpu()
            sizes = torch.full((len(truth),), size)
            pool = (moved, truth, sizes, tracks.visible[points])
            pools.append(pool)
            result["objects"][target.name] = {
                "points": len(truth),
                "size": size,
                **metrics.track_error(*pool[:3]),
                "visible": metrics.track_error(*pool),
            }
    if pools:
        moved, truth, sizes, visible = (torch.cat(parts) for parts in zip(*pools, strict=True))
        result.update(metrics.track_error(moved, truth, sizes))
        result["visible"] = metrics.track_error(moved, truth, sizes, visible)
    return result


def evaluate(field, scene: Scene, objects: Sequence[Selection] = (), train: bool = True) -> dict:
    """Everything that the scene's truth allows to be measured of a field.

    Args:
        objects: selections to score; targets without one are selected by a click.
        train: also score pictures and masks of the training frames.

    Returns:
        ``psnr``, ``ssim``, ``lpips``... of the held-out frames (of the training frames where none
        are held out; ``held_out`` says which), ``train`` the same of the training frames;
        ``selected`` how each target was selected; ``masks`` and ``masks_train`` as from
        :func:`mask_quality`; ``tracks`` as from :func:`track_quality`; ``gaussians``;
        ``eval_seconds``.
    """
    start = time.perf_counter()
    result: dict = {"held_out": bool(scene.test)}
    result.update(image_quality(field, scene, "test" if scene.test else "train"))
    if train and scene.test:
        result["train"] = image_quality(field, scene, "train")
    found = targets(scene)
    if found and (objects or field.semantics() is not None):
        selections, result["selected"] = select_targets(field, scene, found, objects)

        def predict(frame: Frame) -> Prediction:
            return field_masks(field, frame, selections)

        if scene.test:
            result["masks"] = mask_quality(scene.split("test"), found, predict)
        if train or not scene.test:
            result["masks_train"] = mask_quality(scene.split("train"), found, predict)
    if scene.tracks is not None:
        result["tracks"] = track_quality(field, scene, found)
    result["gaussians"] = field.count
    result["eval_seconds"] = time.perf_counter() - start
    return result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``semaflow eval``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--labels", type=Path, metavar="DIR", help="label pictures of the frames")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument(
        "--baselines", action="store_true", help="also score the teacher alone, frame by frame"
    )


def run(args: argparse.Namespace) -> None:
    """``semaflow eval``: prints a table and adds the figures to ``metrics.json`` of the run."""
    from .baselines import teacher_alone
    from .fit import machine, peak_memory
    from .report import print_table
    from .run import Run

    opened = Run.open(args.run)
    scene = opened.scene if args.labels is None else labelled(opened.scene, args.labels)
    objects = [opened.object(name) for name in opened.objects()]
    figures = evaluate(opened.field, scene, objects)
    if args.baselines:
        figures["teacher_alone"] = teacher_alone(scene, opened.teacher())
    path = opened.folder / "metrics.json"
    before = read_json(path) if path.exists() else {"peak_memory_mb": peak_memory()}
    if "lpips" in figures:
        before.pop("lpips_missing", None)
    size = sum(file.stat().st_size for file in opened.folder.glob("field.safetensors"))
    figures = {**before, **figures, "bytes_on_disk": size, "machine": machine()}
    write_json(path, figures)
    if args.json is not None:
        write_json(args.json, figures)
    print_table(figures)
    console.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)
