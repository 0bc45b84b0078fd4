"""Scores of a field's pictures, masks and tracks against the truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from types import SimpleNamespace

import torch
from torch import Tensor

from ..fields import metrics
from ..fields.instances import InstanceScore
from ..fields.losses import ssim
from ..fields.segmentation import SegmentationScore
from ..scenes import BadInput, Frame, Scene
from ..scenes.labels import label_map
from .progress import bar
from .targets import Target

Prediction = dict[str, Tensor]  # masks [H, W] bool by the target's name


class Remembered:
    """A field that renders classes along with colours, and remembers them for when they are scored."""

    def __init__(self, field):
        self.field, self.label_names = field, field.label_names
        self._labels: dict = {}

    def render(self, camera, time: float, channels: Sequence[str] = ("color",)):
        """As the field's; of a view whose colours were rendered before, the channel ``logits`` has ``labels`` alone."""
        key = (id(camera), time)
        if tuple(channels) == ("logits",) and key in self._labels:
            return SimpleNamespace(labels=self._labels[key][1].long())
        if not self.label_names:
            return self.field.render(camera, time, channels=channels)
        made = self.field.render(camera, time, channels=(*channels, "logits"))
        self._labels[key] = camera, made.labels.short()
        return made


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

    Raises BadInput: no frames, or one that the field cannot show.
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
            try:
                image = field.render(frame.camera, frame.time).color.clamp(0, 1).cpu()
            except BadInput as error:
                raise BadInput(f"{frame.name}: {error}") from error
            seconds += time.perf_counter() - start
            values["psnr"].append(metrics.psnr(image, frame.image))
            values["ssim"].append(ssim(image, frame.image).item())
            if perceptual is not None:
                values["lpips"].append(perceptual(image, frame.image))
    result: dict = {name: sum(v) / len(v) for name, v in values.items() if v}
    if missing:
        result["lpips_missing"] = missing
    return {**result, "frames": len(frames), "render_seconds": seconds / len(frames)}


@torch.no_grad()
def mask_quality(frames: Sequence[Frame], found: Sequence[Target], predict: Callable[[Frame], Prediction]) -> dict:
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
            result[f"{kind}s"] = {key: sum(row[key] for row in rows) / len(rows) for key in ("iou", "boundary_f")}
    if whole and matrix.sum():
        result["accuracy"] = metrics.accuracy(matrix)
        result["miou"] = metrics.mean_iou(matrix)
    return result


@torch.no_grad()
def label_score(field, frames: Sequence[Frame], label_names: Sequence[str]) -> SegmentationScore:
    """The classes that ``field`` shows in those of ``frames`` that have labels, beside these. A pixel of which the
    field knows nothing is wrong.

    Raises BadInput: a field of other classes, or labels beyond ``label_names``.
    """
    if list(field.label_names) != list(label_names):
        ours, theirs = (", ".join(names) or "none" for names in (field.label_names, label_names))
        raise BadInput(f"labels: the field knows other classes ({ours}) than the scene ({theirs})")
    frames, count = [frame for frame in frames if frame.has("label")], len(label_names)
    score = SegmentationScore(count)
    if not frames:
        return score
    with bar() as progress:
        task = progress.add_task("labels", total=len(frames), note="")
        for frame in progress.track(frames, task_id=task):
            truth = label_map(frame, count)
            found = field.render(frame.camera, frame.time, channels=("logits",)).labels.cpu()
            score.add(found, truth)
    return score


def label_figures(score: SegmentationScore, label_names: Sequence[str]) -> dict:
    """What a score says.

    Returns:
        Of all frames' pixels together, ``miou``: mean IoU over the classes that the labels have;
        ``accuracy``: share of the labelled pixels; ``average_accuracy``: mean over the classes of the share of
        their pixels; ``iou`` of each class by name. ``per_image``: the first three as means over frames.
        ``frames``: how many had labels. Empty when none had.
    """
    if not score.images:
        return {}
    found = score.scores()

    def three(of: dict) -> dict:
        return {"miou": of["miou"], "accuracy": of["total_accuracy"], "average_accuracy": of["average_accuracy"]}

    iou = {name: value for name, value in zip(label_names, found["class_iou"], strict=True) if value is not None}
    return {**three(found["pooled"]), "iou": iou, "per_image": three(found), "frames": score.images}


@torch.no_grad()
def instance_quality(field, frames: Sequence[Frame]) -> dict:
    """Average precision of the single things that ``field`` tells apart in ``frames``, as from
    :meth:`InstanceScore.scores`; empty where it tells none apart, or no frame shows any."""
    frames = [frame for frame in frames if field.slots and frame.has("instance")]
    if not frames:
        return {}
    score = InstanceScore()
    with bar() as progress:
        task = progress.add_task("instances", total=len(frames), note="")
        for frame in progress.track(frames, task_id=task):
            found = field.render(frame.camera, frame.time, channels=("instances",)).instances
            score.add(found.softmax(-1).cpu(), frame.instance)
    return score.scores() if score.images else {}


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
            moved = field.trajectories(truth[:, start], time_at_start, tracks.times).cpu()
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
