"""Real captures seen by networks of simulated rooms: views left out, before and after a few steps on the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from semaflow.fields import metrics
from semaflow.fields.perception.field import PerceptionField
from semaflow.fields.perception.views import views_of
from semaflow.scenes import Scene, load
from semaflow.scenes.files import read_json
from semaflow.scenes.motion.points import initial_points
from semaflow.tasks import perceive
from semaflow.tasks.pictures import sheet, write_image
from semaflow.tasks.run import Run
from torch import Tensor

from .data import captures
from .perception import learned

CAPTURES = ("static_fox", "static_gold_cape")
WIDTH = 96  # of the pictures
POINTS = 2000  # that tell how far away things are


def measured(start: Run, folder: Path, steps: int, names=CAPTURES) -> Iterator[dict]:
    """The rows of the captures, those before and after ``steps`` steps; pictures are written into ``folder``."""
    for name in names:
        place = prepared(name, folder)
        scene = load(place)
        views = scene.split("test")
        width, height = views[0].camera.width, views[0].camera.height
        row = {"size": f"{width}x{height}", "views": len(views), "nearest view": nearest(start.field, scene)}
        before = pictures(start.field.look_at(views_of(scene)), scene)
        yield {"of": f"{name}, never seen", **row, "PSNR": quality(before, scene), "steps": 0}

        masked = views[0].has("mask")
        tuned = folder / "networks" / f"{name}, {steps} steps, from {start.folder.name}"
        changes = {"iterations": steps, "instances": 2 if masked else 0}
        run = learned(tuned, partial(perceive.tune, start.folder, place, **changes))
        after = pictures(run.field, scene)
        masks = thing(run.field, scene) if masked else []
        if masked:
            own = [metrics.jaccard(mask, frame.mask) for mask, frame in zip(masks, views, strict=True)]
            row["mask IoU"] = sum(own) / len(own)
        seconds = read_json(tuned / "metrics.json")["train_seconds"]
        yield {"of": f"{name}, tuned", **row, "PSNR": quality(after, scene), "train s": seconds, "steps": steps}
        draw(folder / "pictures" / f"{name}.png", scene, before, after, masks)


def prepared(name: str, folder: Path) -> Path:
    """The capture as a scene folder: small pictures, its masks as things, and points."""
    place = folder / "captures" / name
    if not place.exists():
        scene = load(captures() / name, max_width=WIDTH)
        frames = [f.with_layers(instance=f.mask.long()) if f.has("mask") else f for f in scene.frames]
        replace(scene, frames=frames, points=scene.points or initial_points(scene, POINTS)).save(place)
    return place


def pictures(field: PerceptionField, scene: Scene) -> list[Tensor]:
    """The test views as ``field`` shows them."""
    return [field.render(f.camera, f.time).color.clamp(0, 1).cpu() for f in scene.split("test")]


def quality(made: list[Tensor], scene: Scene) -> float:
    """Mean PSNR of the test views."""
    found = [metrics.psnr(own, frame.image) for own, frame in zip(made, scene.split("test"), strict=True)]
    return sum(found) / len(found)


def nearest(field: PerceptionField, scene: Scene) -> float:
    """Mean PSNR of whoever shows the nearest training view in place of each test view."""
    views = field.look_at(views_of(scene)).views
    found = [views.pictures(views.nearest(f.camera.viewmat, f.time, 1))[0] for f in scene.split("test")]
    return quality([own.permute(1, 2, 0).cpu() for own in found], scene)


def thing(field: PerceptionField, scene: Scene) -> list[Tensor]:
    """The masks in test views of that slot which covers the thing best in the first training frame."""

    def slots(frame) -> Tensor:
        return field.render(frame.camera, frame.time, ("instances",)).instances.argmax(-1).cpu()

    first = scene.split("train")[0]
    known = slots(first)
    best = max(range(field.config.instances), key=lambda slot: metrics.jaccard(known == slot, first.mask))
    return [slots(frame) == best for frame in scene.split("test")]


def draw(path: Path, scene: Scene, before: list[Tensor], after: list[Tensor], masks: list[Tensor]) -> None:
    """A sheet of the test views: true, never seen, tuned, and the thing cut out."""
    rows = []
    for index, frame in enumerate(scene.split("test")):
        row = [frame.image, before[index], after[index]]
        rows.append(row + [torch.where(masks[index][..., None], after[index], 0.0)] if masks else row)
    titles = ["picture", "never seen", "tuned", "thing"][: len(rows[0])]
    write_image(path, sheet(rows, titles, [frame.name for frame in scene.split("test")]))
