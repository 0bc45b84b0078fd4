"""Flow fields on simulated worlds beside their baselines and Gaussians with lifted labels, preset fast: semantics of
new views from all labels, completion, tracking, and adaptation to a new world.

``python -m benchmarks.flow WORLD...`` measures some worlds alone and leaves the other rows as they are.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from semaflow.fields.flow.config import BASELINES
from semaflow.scenes import simulate
from semaflow.scenes.splits import LabelSplit
from semaflow.tasks.adapt import adapt
from semaflow.tasks.fit import fit
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
    "tracking 50%": partial(LabelSplit.tracking, share=50, pictures="all"),
    "tracking 50%, seen": partial(LabelSplit.tracking, share=50),
}
SCRATCH, ADAPTED = (600, 900), (100, 200)  # steps of the two stages
COLUMNS = ["world", "task", "of", "mIoU", "mIoU, training cameras", "PSNR", "seconds"]


def run() -> list[Table]:
    """All worlds."""
    return [table([row for world in WORLDS for row in measured(world)])]


def table(rows: list[dict]) -> Table:
    made = Table(f"Flow fields on simulated worlds, preset {PRESET}", COLUMNS)
    made.notes.append("mIoU of held-out cameras, in completion and tracking at unlabelled times")
    for row in rows:
        made.add(**row)
    return made


def measured(world: str, methods=tuple(METHODS), tasks=tuple(TASKS), **options) -> list[dict]:
    """The rows of one world."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scene, folder = Path(folder) / "scene", Path(folder)
        simulate(world, **options).save(scene)
        for task in tasks:
            for method in methods:
                start = time.perf_counter()
                made = METHODS[method](scene, folder / f"{method} {task}", PRESET, split=TASKS[task])
                rows.append(row(world, task, method, made, time.perf_counter() - start))
                print(rows[-1], flush=True)
    return rows


def adaptation(world: str, other_seed: int = 1) -> list[dict]:
    """A field of a world adapted in 300 steps to the world of another seed, and one trained from scratch in 1500."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in (0, other_seed):
            simulate(world, seed=seed).save(folder / f"scene {seed}")
        fit_flow(folder / "scene 0", folder / "before", PRESET, teacher="given")
        names = ("static_iterations", "dynamic_iterations")
        few, many = (dict(zip(names, steps, strict=True)) for steps in (ADAPTED, SCRATCH))
        made = adapt(folder / "before", folder / f"scene {other_seed}", folder / "after", **few)
        rows.append(row(world, "adaptation", "adapted, 300 steps", made))
        made = fit_flow(folder / f"scene {other_seed}", folder / "scratch", PRESET, teacher="given", **many)
        rows.append(row(world, "adaptation", "from scratch, 1500 steps", made))
    return rows


def row(world: str, task: str, method: str, made: Run, seconds: float | None = None) -> dict:
    """The figures of one run."""
    figures = json.loads((made.folder / "metrics.json").read_text())
    return {
        "world": world, "task": task, "of": method, "mIoU": figures.get("labels", {}).get("miou"),
        "mIoU, training cameras": figures.get("labels_train", {}).get("miou"), "PSNR": figures.get("psnr"),
        "seconds": figures["train_seconds"] if seconds is None else seconds,
    }  # fmt: skip


def main(worlds: list[str]) -> None:
    """Measure ``worlds`` and keep the rows of all others."""
    path = RESULTS / "flow.json"
    kept = json.loads(path.read_text())["tables"][0]["rows"] if path.exists() else []
    rows = [kept_row for kept_row in kept if kept_row["world"] not in worlds]
    for world in worlds:
        rows += measured(world) + adaptation(world)
    made = table(rows)
    print(made)
    write("flow", machine(), [made])


if __name__ == "__main__":
    main(sys.argv[1:] or list(WORLDS))
