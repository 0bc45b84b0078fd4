"""Perception fields: the ablation of GP-NeRF on simulated rooms never seen, one of them tuned on, things in it told
apart, real captures, and what the paper's sizes cost.

``python -m benchmarks.perception PART...`` takes some parts alone (ablation, tuned, instances, captures, paper) and
leaves the other rows as they are. Each row is written as soon as it is there. What was filmed and trained stays in the
folder that ``--folder`` names: an interrupted measurement goes on where it was. The captures are those that
``SEMAFLOW_DATA`` has.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from semaflow.fields import metrics
from semaflow.fields.instances import InstanceScore
from semaflow.fields.perception.config import ABLATIONS, preset
from semaflow.fields.perception.field import PerceptionField
from semaflow.fields.perception.targets import targets
from semaflow.fields.perception.trainer import PerceptionTrainer
from semaflow.fields.perception.views import views_of
from semaflow.fields.segmentation import SegmentationScore, labels_of
from semaflow.scenes import Scene, load
from semaflow.scenes.files import read_json
from semaflow.tasks import perceive
from semaflow.tasks.device import device
from semaflow.tasks.fit import resume
from semaflow.tasks.run import Run

from . import memory
from .rooms import filmed
from .table import Table, machine, others, write

PRESET = "fast"
UNSEEN = 1000  # seed of the first room that no network is trained on
COLUMNS = {  # of the parts
    "ablation": ["of", "mIoU", "accuracy", "PSNR", "train s", "steps", "rooms", "unseen rooms", "commit"],
    "tuned": ["of", "mIoU", "accuracy", "PSNR", "train s", "steps", "commit"],
    "instances": ["of", "AP@.50", "AP@.75", "COCO AP@.75", "mIoU", "train s", "steps", "commit"],
    "captures": ["of", "size", "views", "PSNR", "nearest view", "mask IoU", "train s", "steps", "commit"],
    "paper": ["of", "parameters", "MiB", "s per step", "device", "commit"],
}
KEYS = ("part", "of")


@dataclass(frozen=True)
class Budget:
    """How much is filmed and trained: room for all of it in an hour or for the best there is, as one likes."""

    folder: Path
    steps: int = 1500  # of networks trained on all rooms
    tuning: int = 300  # of those that go on with one scene
    rooms: int = 40
    unseen: int = 8
    frames: int = 16
    test: int = 2
    width: int = 96
    height: int = 72

    def filmed(self, seeds) -> list[Path]:
        size = {"width": self.width, "height": self.height}
        return filmed(self.folder, seeds, frames=self.frames, test=self.test, **size)

    def trained_on(self) -> list[Path]:
        return self.filmed(range(self.rooms))

    def tested_on(self) -> list[Path]:
        return self.filmed(range(UNSEEN, UNSEEN + self.unseen))


def learned(folder: Path, begin) -> Run:
    """The run in ``folder``: as it is if it was finished, gone on with if it was interrupted, else begun."""
    if (folder / "field.safetensors").exists():
        return Run.open(folder)
    if (folder / "checkpoint.safetensors").exists():
        resume(folder)
        return Run.open(folder)
    return begin(folder)


def network(budget: Budget, name: str = "full") -> Run:
    """A row of the ablation, trained on all rooms."""
    changes = {**ABLATIONS[name], "iterations": budget.steps}
    place = budget.folder / "networks" / f"{name}, {budget.steps} steps, {budget.rooms} rooms"
    return learned(place, lambda folder: perceive.train(budget.trained_on(), folder, PRESET, **changes))


def shown(field: PerceptionField, scenes: list[Scene]) -> dict:
    """How well ``field`` shows the test views of ``scenes``: figures of the pixels of all of them together."""
    score, errors, things = SegmentationScore(len(field.label_names)), [], InstanceScore()
    channels = ("color", "logits", *(("instances",) if field.instance_head is not None else ()))
    for scene in scenes:
        field.look_at(views_of(scene))
        for frame in scene.split("test"):
            made = field.render(frame.camera, frame.time, channels)
            score.add(labels_of(made.logits).cpu(), frame.label)
            errors.append(metrics.psnr(made.color.clamp(0, 1).cpu(), frame.image))
            if made.instances is not None:
                things.add(made.instances.softmax(-1).cpu(), frame.instance)
    pooled = score.scores()["pooled"]
    figures = {"mIoU": pooled["miou"], "accuracy": pooled["total_accuracy"], "PSNR": sum(errors) / len(errors)}
    if field.instance_head is not None:
        found = things.scores()
        figures |= {"AP@.50": found["ap"]["0.5"], "AP@.75": found["ap"]["0.75"]}
        figures["COCO AP@.75"] = found["coco_ap"]["0.75"]
    return figures


def training(run: Run) -> dict:
    found = read_json(run.folder / "metrics.json")
    return {"train s": found["train_seconds"], "steps": found["iterations"]}


def ablation(budget: Budget) -> Iterator[dict]:
    """Each row of the ablation, on rooms never seen."""
    scenes = [load(path) for path in budget.tested_on()]
    for name in ABLATIONS:
        run = network(budget, name)
        figures = {**shown(run.field, scenes), **training(run)}
        yield {"of": name, **figures, "rooms": budget.rooms, "unseen rooms": budget.unseen}


def tuned(budget: Budget) -> Iterator[dict]:
    """One unseen room: as it is seen, after a few steps on it, and by a fresh network after as many."""
    place = budget.tested_on()[0]
    start, scene, steps = network(budget), load(place), {"iterations": budget.tuning, "warm_up": 20}
    yield {"of": "never seen", **shown(start.field, [scene]), **training(start)}
    for name, begin in {
        "tuned": lambda folder: perceive.tune(start.folder, place, folder, **steps),
        "fresh, this room alone": lambda folder: perceive.train([place], folder, PRESET, **steps),
    }.items():
        run = learned(_of(budget, name, start), begin)
        yield {"of": name, **shown(run.field, [scene]), **training(run)}


def instances(budget: Budget) -> Iterator[dict]:
    """The things of that room, told apart by an instance head that it is tuned with."""
    place = budget.tested_on()[0]
    scene, start = load(place), network(budget)
    slots = 1 + max(int(frame.instance.max()) for frame in scene.frames)
    changes = {"iterations": budget.tuning, "instances": slots}
    run = learned(
        _of(budget, "instances", start), lambda folder: perceive.tune(start.folder, place, folder, **changes)
    )
    figures = {name: value for name, value in shown(run.field, [scene]).items() if name in COLUMNS["instances"]}
    yield {"of": f"{slots} slots", **figures, **training(run)}


def captures(budget: Budget) -> Iterator[dict]:
    """Photographs: a network of rooms shows the views left out, and after a few steps on the others."""
    from .perception_captures import measured

    yield from measured(network(budget), budget.folder, budget.tuning)


def paper(budget: Budget, steps: int = 2, rays: int | None = None) -> Iterator[dict]:
    """A few steps of the paper's sizes, in a process of their own."""
    size = {"width": 320, "height": 240} if rays is None else {"width": budget.width, "height": budget.height}
    (place,) = filmed(budget.folder, [0], frames=12, test=0, **size)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield pool.submit(paper_steps, place, steps, rays).result()


def paper_steps(place: Path, steps: int, rays: int | None) -> dict:
    """What steps of preset ``paper`` on one room cost; the first one, in which kernels are compiled, is not timed."""
    config = preset("paper") if rays is None else preset("paper").replaced(rays=rays)
    scene = load(place)
    field = PerceptionField(config, scene.label_names).to(device())
    trainer = PerceptionTrainer(field, [targets(scene)])
    trainer.step()
    memory.forget_peak(device().type)
    start = time.perf_counter()
    for _ in range(steps):
        trainer.step()
    seconds = (time.perf_counter() - start) / steps
    width, height = trainer.found[0].views.size
    return {
        "of": f"{width}x{height}, {config.rays} rays", "parameters": field.count, "MiB": memory.peak(device().type),
        "s per step": seconds, "device": device().type,
    }  # fmt: skip


PARTS = {
    "ablation": ablation, "tuned": tuned, "instances": instances, "captures": captures, "paper": paper,
}  # fmt: skip


def _of(budget: Budget, name: str, start: Run) -> Path:
    return budget.folder / "networks" / f"{name}, {budget.tuning} steps, from {start.folder.name}"


def tables(rows: list[dict]) -> list[Table]:
    """A table for each part that has rows."""
    made = []
    for part, columns in COLUMNS.items():
        own = [row for row in rows if row["part"] == part]
        if own:
            made.append(Table(f"Perception fields, {part}, preset {PRESET if part != 'paper' else part}", columns))
            for row in own:
                made[-1].add(**{name: value for name, value in row.items() if name != "part"})
    return made


def measured(budget: Budget, parts=tuple(PARTS)) -> list[dict]:
    """All rows there are, those of ``parts`` measured anew; each is written when it is there."""
    rows: list[dict] = []
    for part in parts:
        for found in PARTS[part](budget):
            row = {"part": part, **found, "commit": machine()["commit"]}
            print(row, flush=True)
            rows = others("perception", row, KEYS)
            write("perception", machine(), [Table("Perception fields", [], rows)])
    return rows


def run() -> list[Table]:
    """All parts; everything that was filmed and trained is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(Budget(Path(folder)))
    return [Table("Perception fields", [*KEYS, *dict.fromkeys(sum(COLUMNS.values(), []))], rows)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perception", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"among {', '.join(PARTS)}; default all")
    parser.add_argument("--folder", type=Path, help="where rooms and networks are kept; a temporary one if absent")
    for name, words in {
        "steps": "of networks trained on all rooms", "tuning": "of those that go on with one scene",
        "rooms": "to train on", "unseen": "rooms to test on",
    }.items():  # fmt: skip
        default = Budget.__dataclass_fields__[name].default
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{words}; default {default}")
    arguments = parser.parse_args()
    for part in arguments.parts:
        if part not in PARTS:
            parser.error(f"no part {part!r}; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as name:
        budget = Budget(
            arguments.folder or Path(name), arguments.steps, arguments.tuning, arguments.rooms, arguments.unseen
        )
        print("\n\n".join(map(str, tables(measured(budget, arguments.parts or tuple(PARTS))))))


if __name__ == "__main__":
    main()
