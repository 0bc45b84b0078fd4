"""Labels on the simulated worlds, preset fast: new views of a labelled video, completion, and following, by the
Gaussian field."""

from __future__ import annotations

import tempfile
from pathlib import Path

from semaflow.scenes import simulate
from semaflow.scenes.splits import LabelSplit
from semaflow.tasks.evaluate import labels_quality
from semaflow.tasks.fit import fit, learn_classes
from semaflow.tasks.follow import follow

from .table import Table

WORLDS = ("balls", "walker", "flag", "twins")
PRESET = "fast"
COLUMNS = ["world", "task", "labels", "pictures", "mIoU, training cameras", "mIoU, test cameras"]


def run() -> list[Table]:
    """One table: new views, completion and following of each world."""
    table = Table(f"Labels that were not given, simulated worlds, preset {PRESET}", COLUMNS)
    for name in WORLDS:
        with tempfile.TemporaryDirectory() as folder:
            for row in measured(name, Path(folder)):
                table.add(**row)
                print(row, flush=True)
    return [table]


def measured(name: str, folder: Path, preset: str = PRESET, world: dict | None = None, **settings) -> list[dict]:
    """The rows of one world, filmed and fitted in ``folder``.

    Where all pictures are used, labels come after training: one field serves several splits.
    """
    simulate(name, **world or {}).save(folder / "scene")
    made = fit(folder / "scene", folder / "all", preset, semantics="none", **settings)
    count = len(made.scene.train)
    splits = {("new views", 100): LabelSplit.full(count)}
    splits |= {("completion", share): LabelSplit.completion(count, share) for share in (25, 50, 75)}
    splits |= {("following", share): LabelSplit.tracking(count, share, "all") for share in (25, 50, 75)}
    rows = []
    for (task, share), split in splits.items():
        learn_classes(made.field, split.seen(made.scene))
        rows.append(_row(name, task, share, "all", labels_quality(made.field, made.scene, split)))
    foretold = follow(folder / "scene", folder / "seen", preset_name=preset, **settings)
    quality = labels_quality(foretold.field, foretold.scene, foretold.split)
    return [*rows, _row(name, "following", 50, "seen", quality)]


def _row(name: str, task: str, share: int, pictures: str, quality: dict) -> dict:
    miou = {key: scores["miou"] for key, scores in quality.items()}
    row = {"world": name, "task": task, "labels": f"{share}%", "pictures": pictures}
    columns = {"mIoU, training cameras": "labels_train", "mIoU, test cameras": "labels"}
    return row | {column: miou[key] for column, key in columns.items() if key in miou}
