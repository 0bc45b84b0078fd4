"""Captures with known cameras from beginning to end: pictures, and masks by one click, on the frames held out.

``SEMAFLOW_DATA`` names the folder that holds them and the teacher's weights.
"""

from __future__ import annotations

import time
from pathlib import Path

from semaflow.tasks.evaluate import evaluate
from semaflow.tasks.fit import fit
from semaflow.tasks.targets import targets

from .data import clicked, fill
from .table import Table

# What each is fitted with beside its preset. Cameras that jump from frame to frame leave nothing to follow from one
# picture to the next: there the motion is a network's, which is slow on a CPU, so that the preset is the smallest.
JUMPING = ("tiny", {"motion": "network", "warmup": 200, "iterations": 1500, "position_until": 1500})
CAPTURES = {
    "static_fox": ("fast", {}),
    "static_gold_cape": ("fast", {}),
    "nrnerf_hand": ("fast", {}),
    "dnerf_mutant": JUMPING,
    "panoptic_basketball_a": JUMPING,
}
TEACHER = "mobilesam+classical"
COLUMNS = ["capture", "frames", "held out", "PSNR", "SSIM", "LPIPS", "J", "PSNR train", "fit min", "Gaussians"]


def run() -> list[Table]:
    """One table, a row for each capture."""
    table = Table(f"Captures with known cameras, teacher {TEACHER}", COLUMNS)
    fill(table, CAPTURES, measured)
    return [table]


def measured(capture: Path, folder: Path) -> dict:
    """The row of one capture, fitted into ``folder``."""
    preset, changes = CAPTURES[capture.name]
    start = time.perf_counter()
    made = fit(capture, folder, preset, teacher=TEACHER, **changes)
    minutes = (time.perf_counter() - start) / 60
    objects = [clicked(made, target, target.name) for target in targets(made.scene)]
    figures = evaluate(made.field, made.scene, objects)
    row = {
        "capture": capture.name, "frames": len(made.scene.train), "held out": len(made.scene.test),
        "PSNR": figures["psnr"], "SSIM": figures["ssim"], "fit min": minutes, "Gaussians": figures["gaussians"],
    }
    if "lpips" in figures:
        row["LPIPS"] = figures["lpips"]
    if "train" in figures:
        row["PSNR train"] = figures["train"]["psnr"]
    masks = figures.get("masks", figures.get("masks_train"))
    if masks and "objects" in masks:
        row["J"] = masks["objects"]["iou"]
    return row
