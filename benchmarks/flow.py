"""Flow fields on simulated worlds beside their baselines and Gaussians with lifted labels, preset fast: semantics of
new views from all labels, completion, tracking, and adaptation to a new world.

``python -m benchmarks.flow [WORLD[/TASK[/METHOD]]]...`` measures some rows alone, as in ``balls/completion``
(beginnings of names will do). Each is written as soon as it is there; the others stay, each with its own commit.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import semaflow.tasks.fit_flow as flow_fits
from semaflow.fields.flow.config import BASELINES
from semaflow.scenes import simulate
from semaflow.scenes.simulate.room import room
from semaflow.scenes.splits import LabelSplit
from semaflow.tasks.adapt import adapt
from semaflow.tasks.evaluate import labels_quality
from semaflow.tasks.fit import fit, learn_classes
from semaflow.tasks.fit_flow import fit_flow
from semaflow.tasks.run import Run

from .table import Table, machine, others, write

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
    "all pictures, tracking 50%": partial(LabelSplit.tracking, share=50, pictures="all"),
}
UNDIVIDED = {
    f"{name}, one branch": partial(METHODS[name], static_field=False, static_iterations=0, dynamic_iterations=3000)
    for name in ("flow", "point")
}
ADAPTATION = "adaptation"
MANY, OTHER = (0, 2), 1  # seeds of the worlds that a field is adapted from, and to
SCRATCH, ADAPTED = (600, 900), (100, 200)  # steps of the two stages
ROOM = {body.label for body in room(0)}
COLUMNS = [
    "world", "task", "of", "mIoU", "mIoU, things", "mIoU, training cameras", "mIoU, all cameras", "PSNR",
    "processor seconds", "commit",
]  # fmt: skip


def run() -> list[Table]:
    """All rows."""
    return [table([row for case in cases() for row in measured([case])])]


def cases() -> list[tuple[str, str, str]]:
    """World, task and method of every row; one of an adaptation makes two."""
    found = []
    for world in WORLDS:
        found += [(world, task, method) for task in TASKS for method in METHODS]
        if world == "twins":
            found += [(world, "all labels", method) for method in UNDIVIDED]
        found.append((world, ADAPTATION, "flow"))
    return found


def table(rows: list[dict]) -> Table:
    made = Table(f"Flow fields on simulated worlds, preset {PRESET}", COLUMNS)
    made.notes += [
        "mIoU of held-out cameras, in completion and tracking at unlabelled times; things: all that is not of the room",
        "all cameras: held-out and training cameras at unlabelled times, pixels together",
        "tracking: labels and pictures of the first half; with all pictures: of the rest these too",
        "one branch: without the static one, which knows by itself what stands still",
        "processor seconds: of everything, filming and pictures too; what a video tells is found once for all methods",
    ]
    for row in rows:
        made.add(**row)
    return made


def measured(chosen: list[tuple[str, str, str]], **options) -> Iterator[dict]:
    """The rows of ``chosen`` cases, each world filmed once with ``options``."""
    for world in dict.fromkeys(case[0] for case in chosen):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            simulate(world, **options).save(folder / "scene")
            for _, task, method in (case for case in chosen if case[0] == world):
                if task == ADAPTATION:
                    yield from adaptation(world)
                else:
                    yield fitted(world, task, method, folder)


def fitted(world: str, task: str, method: str, folder: Path) -> dict:
    """The row of one fit. Gaussians are fitted once for all tasks that leave them all pictures; labels come after."""
    start, split, function = time.process_time(), TASKS[task], {**METHODS, **UNDIVIDED}[method]
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
    return row(world, task, method, figures, time.process_time() - start)


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
            start = time.process_time()
            made = function(output=folder / method, **steps)
            figures = json.loads((made.folder / "metrics.json").read_text())
            yield row(world, ADAPTATION, method, figures, time.process_time() - start)


@contextmanager
def remembered() -> Iterator[None]:
    """What a video tells is found once, not again for every method."""
    found, search = {}, flow_fits.targets

    def targets(scene, filmed=None, maps=None, sure=0.0):
        frames = scene.split("train")
        labelled = tuple(frame.has("label") for frame in frames)
        key = (float(frames[0].image.sum()), tuple(filmed or ()), labelled, maps is not None and sure)
        if key not in found:
            found[key] = search(scene, filmed, maps, sure)
        return found[key]

    flow_fits.targets = targets
    try:
        yield
    finally:
        flow_fits.targets = search


def row(world: str, task: str, method: str, figures: dict, seconds: float) -> dict:
    """One row of figures as in metrics.json; they are printed too."""
    labels = figures.get("labels", {})
    things = [iou for name, iou in labels.get("iou", {}).items() if name not in ROOM]
    made = {
        "world": world, "task": task, "of": method, "mIoU": labels.get("miou"),
        "mIoU, things": sum(things) / len(things) if things else None,
        "mIoU, training cameras": figures.get("labels_train", {}).get("miou"),
        "mIoU, all cameras": figures.get("labels_unseen", {}).get("miou"), "PSNR": figures.get("psnr"),
        "processor seconds": seconds, "commit": machine()["commit"],
    }  # fmt: skip
    print(made, flush=True)
    return made


def kept(new: dict) -> Table:
    """The table with a row in place of the one there was; written."""
    order = {case: place for place, case in enumerate(cases())}
    names = ("world", "task", "of")

    def place(row: dict) -> tuple:
        case = tuple(row[name] for name in names)
        return WORLDS.index(row["world"]), order.get(case, len(order)), row["of"]

    made = table(sorted(others("flow", new, names), key=place))
    write("flow", machine(), [made])
    return made


def main(wanted: list[str]) -> None:
    """Measure the rows whose ``WORLD/TASK/METHOD`` begin as one of ``wanted`` does; all, if there are none."""
    chosen = [case for case in cases() if not wanted or any(_named(case, name) for name in wanted)]
    if not chosen:
        sys.exit(f"no such rows; there are {', '.join('/'.join(case) for case in cases())}")
    with remembered():
        for found in measured(chosen):
            made = kept(found)
    print(made)


def _named(case: tuple[str, str, str], name: str) -> bool:
    return all(part.startswith(begin) for part, begin in zip(case, name.split("/"), strict=False))


if __name__ == "__main__":
    main(sys.argv[1:])
