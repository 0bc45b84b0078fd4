"""Captures with known cameras from beginning to end: pictures, and masks by one click, on the frames held out.

``SEMAFLOW_DATA`` names the folder that holds them and the teacher's weights.
"""

from __future__ import annotations

import time
from pathlib import Path

from semaflow.scenes.files import read_json
from semaflow.tasks.evaluate import evaluate
from semaflow.tasks.fit import fit
from semaflow.tasks.targets import targets

from .data import clicked, fill
from .table import Table

CAPTURES = ("static_fox", "static_gold_cape", "nrnerf_hand", "dnerf_mutant", "panoptic_basketball_a")
PRESET = "fast"
TEACHER = "mobilesam+classical"
COLUMNS = [
    "capture", "frames", "held out", "PSNR", "SSIM", "LPIPS", "J", "PSNR train", "fit min", "train min", "Gaussians",
]


def run() -> list[Table]:
    """One table, a row for each capture."""
    table = Table(f"Captures with known cameras, preset {PRESET}, teacher {TEACHER}", COLUMNS)
    fill(table, CAPTURES, measured)
    return [table]


def measured(capture: Path, folder: Path) -> dict:
    """The row of one capture, fitted into ``folder``."""
    start = time.perf_counter()
    made = fit(capture, folder, PRESET, teacher=TEACHER)
    minutes = (time.perf_counter() - start) / 60
    objects = [clicked(made, target, target.name) for target in targets(made.scene)]
    figures = evaluate(made.field, made.scene, objects)
    row = {
        "capture": capture.name, "frames": len(made.scene.train), "held out": len(made.scene.test),
        "PSNR": figures["psnr"], "SSIM": figures["ssim"], "fit min": minutes, "Gaussians": figures["gaussians"],
        "train min": read_json(made.folder / "metrics.json")["train_seconds"] / 60,
    }
    if "lpips" in figures:
        row["LPIPS"] = figures["lpips"]
    if "train" in figures:
        row["PSNR train"] = figures["train"]["psnr"]
    masks = figures.get("masks", figures.get("masks_train"))
    if masks and "objects" in masks:
        row["J"] = masks["objects"]["iou"]
    return row
