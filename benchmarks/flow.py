"""Flow fields on simulated worlds beside their baselines and Gaussians with lifted labels, preset fast: semantics of
new views from all labels, completion, tracking, and adaptation to a new world.

``python -m benchmarks.flow WORLD...`` measures some worlds alone and leaves the other rows as they are.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from semaflow.fields.flow.config import BASELINES
from semaflow.scenes import simulate
from semaflow.scenes.simulate.room import room
from semaflow.scenes.splits import LabelSplit
from semaflow.tasks.adapt import adapt
from semaflow.tasks.evaluate import labels_quality
from semaflow.tasks.fit import fit, learn_classes
from semaflow.tasks.fit_flow import fit_flow
from semaflow.tasks.run import Run

from .table import RESULTS, Table, machine, write

WORLDS = ("twins", "balls", "walker", "flag")
PRESET = "fast"
METHODS: dict[str, Callable[..., Run]] = {
    "flow": partial(fit_flow, encoder="given"),
    **{name: partial(fit_flow, **{"encoder": "given", **changes}) for name, changes in BASELINES.items()},
    "gaussians": partial(fit, semantics="none"),
}
TASKS: dict[str, Callable[[int], LabelSplit]] = {
    "all labels": LabelSplit.full,
    "completion 25%": partial(LabelSplit.completion, share=25),
    "tracking 50%": partial(LabelSplit.tracking, share=50),
    "tracking 50%, all pictures": partial(LabelSplit.tracking, share=50, pictures="all"),
}
UNDIVIDED = {
    f"{name}, one branch": partial(METHODS[name], static_field=False, static_iterations=0, dynamic_iterations=3000)
    for name in ("flow", "point")
}
MANY, OTHER = (0, 2), 1  # seeds of the worlds that a field is adapted from, and to
SCRATCH, ADAPTED = (600, 900), (100, 200)  # steps of the two stages
ROOM = {body.label for body in room(0)}
COLUMNS = ["world", "task", "of", "mIoU", "mIoU, things", "mIoU, training cameras", "PSNR", "seconds"]


def run() -> list[Table]:
    """All worlds."""
    return [table([row for world in WORLDS for row in (*measured(world), *adaptation(world))])]


def table(rows: list[dict]) -> Table:
    made = Table(f"Flow fields on simulated worlds, preset {PRESET}", COLUMNS)
    made.notes += [
        "mIoU of held-out cameras, in completion and tracking at unlabelled times; things: all that is not of the room",
        "tracking: labels and pictures of the first half; all pictures: of the rest these too",
        "one branch: without the static one, which knows by itself what stands still",
    ]
    for row in rows:
        made.add(**row)
    return made


def measured(world: str, methods=tuple(METHODS), tasks=tuple(TASKS), **options) -> Iterator[dict]:
    """The rows of one world, and those of fields of one branch where looks do not tell classes apart."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(world, **options).save(folder / "scene")
        for task in tasks:
            for method in methods:
                yield fitted(world, task, method, METHODS[method], folder)
        for method, function in UNDIVIDED.items() if world == "twins" else ():
            yield fitted(world, "all labels", method, function, folder)


def fitted(world: str, task: str, method: str, function: Callable[..., Run], folder: Path) -> dict:
    """The row of one fit. Gaussians are fitted once for all tasks that leave them all pictures; labels come after."""
    start, split = time.perf_counter(), TASKS[task]
    if method == "gaussians" and task != "tracking 50%":
        kept = folder / method
        made = Run.open(kept) if kept.exists() else function(folder / "scene", kept, PRESET)
        chosen = split(len(made.scene.train))
        learn_classes(made.field, chosen.seen(made.scene))
        figures = json.loads((made.folder / "metrics.json").read_text())
        figures |= labels_quality(made.field, made.scene, chosen)
    else:
        made = function(folder / "scene", folder / f"{method} {task}", PRESET, split=split)
        figures = json.loads((made.folder / "metrics.json").read_text())
    return row(world, task, method, figures, time.perf_counter() - start)


def adaptation(world: str) -> Iterator[dict]:
    """A field of two worlds adapted in 300 steps to a third, of another seed; and one trained from scratch in 1500."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in (*MANY, OTHER):
            simulate(world, seed=seed).save(folder / f"scene {seed}")
        new = folder / f"scene {OTHER}"
        fit_flow([folder / f"scene {seed}" for seed in MANY], folder / "before", PRESET, encoder="given")
        names = ("static_iterations", "dynamic_iterations")
        few, many = (dict(zip(names, steps, strict=True)) for steps in (ADAPTED, SCRATCH))
        for method, function, steps in (
            ("adapted, 300 steps", partial(adapt, folder / "before", new), few),
            ("from scratch, 1500 steps", partial(fit_flow, new, preset_name=PRESET, encoder="given"), many),
        ):
            start = time.perf_counter()
            made = function(output=folder / method, **steps)
            figures = json.loads((made.folder / "metrics.json").read_text())
            yield row(world, "adaptation", method, figures, time.perf_counter() - start)


def row(world: str, task: str, method: str, figures: dict, seconds: float) -> dict:
    """One row of figures as in metrics.json; they are printed too."""
    labels = figures.get("labels", {})
    things = [iou for name, iou in labels.get("iou", {}).items() if name not in ROOM]
    made = {
        "world": world, "task": task, "of": method, "mIoU": labels.get("miou"),
        "mIoU, things": sum(things) / len(things) if things else None,
        "mIoU, training cameras": figures.get("labels_train", {}).get("miou"), "PSNR": figures.get("psnr"),
        "seconds": seconds,
    }  # fmt: skip
    print(made, flush=True)
    return made


def main(worlds: list[str]) -> None:
    """Measure ``worlds`` and keep the rows of all others."""
    path = RESULTS / "flow.json"
    rows = json.loads(path.read_text())["tables"][0]["rows"] if path.exists() else []
    for world in worlds:
        rows = [kept for kept in rows if kept["world"] != world]
        rows += [*measured(world), *adaptation(world)]
        write("flow", machine(), [table(rows)])
    print(table(rows))


if __name__ == "__main__":
    main(sys.argv[1:] or list(WORLDS))
