"""NVIDIA Dynamic Scenes' Balloon1, twelve frames of a moving camera, against what the first camera saw at the other
eleven times: the flow field, its baselines, and Gaussians with lifted labels.

DynNeRF's published PSNR on this scene is 22.36 dB (from the original's larger pictures).
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from .data import captures
from .flow import METHODS
from .table import Table

PRESET, ENCODER = "fast", "classical"
COLUMNS = ["of", "PSNR", "SSIM", "LPIPS", "mIoU", "accuracy", "seconds"]
OPTIONS = {"label_names": ["background", "person", "balloon"]}


def run() -> list[Table]:
    """One row for each method."""
    table = Table(f"Balloon1, preset {PRESET}, the first camera's view at unseen times", COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        for name in METHODS:
            table.add(**measured(name, Path(folder) / name))
            print(table.rows[-1], flush=True)
    return [table]


def measured(name: str, folder: Path, **changes) -> dict:
    """The row of one method, fitted in ``folder``; ``changes`` of its settings."""
    start = time.perf_counter()
    settings = {**METHODS[name].keywords, **changes}
    if settings.get("encoder") == "given":
        settings["encoder"] = ENCODER
    METHODS[name].func(captures() / "nvidia_balloon1", folder, PRESET, options=OPTIONS, **settings)
    figures = json.loads((folder / "metrics.json").read_text())
    labels = figures.get("labels", {})
    return {
        "of": name, "PSNR": figures["psnr"], "SSIM": figures["ssim"], "LPIPS": figures.get("lpips"),
        "mIoU": labels.get("miou"), "accuracy": labels.get("accuracy"), "seconds": time.perf_counter() - start,
    }  # fmt: skip
