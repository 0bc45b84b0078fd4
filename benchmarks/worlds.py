"""Simulated worlds from beginning to end, preset fast: the field with lifted and with distilled features, beside what
it has to beat, the 2D teacher alone and a still field of the same video."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from semaflow.scenes import simulate
from semaflow.tasks.baselines import teacher_alone
from semaflow.tasks.evaluate import evaluate
from semaflow.tasks.fit import fit

from .table import Table

WORLDS = ("balls", "walker", "flag", "twins")
PRESET = "fast"
VARIANTS = {"lift": {}, "distill": {"semantics": "distill"}, "still": {"motion": "still"}}
COLUMNS = ["world", "of", "PSNR", "SSIM", "J objects", "J parts", "track, % of size", "within 10%", "seconds"]


def run() -> list[Table]:
    """One table, four rows for each world."""
    table = Table(f"Simulated worlds, preset {PRESET}, held-out views", COLUMNS)
    for name in WORLDS:
        with tempfile.TemporaryDirectory() as folder:
            for row in measured(name, Path(folder)):
                table.add(**row)
                print(row, flush=True)
    return [table]


def measured(name: str, folder: Path, preset: str = PRESET, **world) -> list[dict]:
    """The rows of one world, filmed and fitted in ``folder``."""
    simulate(name, **world).save(folder / "scene")
    rows = []
    for variant, settings in VARIANTS.items():
        start = time.perf_counter()
        made = fit(folder / "scene", folder / variant, preset, teacher="scene", **settings)
        seconds = time.perf_counter() - start
        figures = evaluate(made.field, made.scene, train=False)
        tracks = figures["tracks"]
        rows.append({
            "world": name, "of": variant, "PSNR": figures["psnr"], "SSIM": figures["ssim"], **_masks(figures["masks"]),
            "track, % of size": 100 * tracks["median_of_size"], "within 10%": 100 * tracks["within_10"],
            "seconds": seconds,
        })
    alone = teacher_alone(made.scene, made.teacher())
    return [*rows, {"world": name, "of": "teacher alone", **_masks(alone["masks"])}]


def _masks(scores: dict) -> dict:
    kinds = {"J objects": "objects", "J parts": "parts"}
    return {column: scores[kind]["iou"] for column, kind in kinds.items() if kind in scores}
