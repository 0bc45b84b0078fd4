"""NVIDIA Dynamic Scenes' Balloon1, twelve frames of a moving camera, against what the first camera saw at the other
eleven times: the flow field, its baselines, and Gaussians with lifted labels.

DynNeRF's published PSNR on this scene is 22.36 dB (from the original's larger pictures).

``python -m benchmarks.flow_real METHOD...`` measures some rows alone and leaves the others as they are.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from .data import captures
from .flow import METHODS
from .table import Table, machine, others, write

PRESET, ENCODER = "fast", "classical"
COLUMNS = ["of", "PSNR", "SSIM", "LPIPS", "mIoU", "accuracy", "processor seconds", "commit"]
OPTIONS = {"label_names": ["background", "person", "balloon"]}


def run() -> list[Table]:
    """One row for each method."""
    return [table(list(rows(METHODS)))]


def table(found: list[dict]) -> Table:
    made = Table(f"Balloon1, preset {PRESET}, the first camera's view at unseen times", COLUMNS)
    for row in found:
        made.add(**row)
    return made


def rows(methods: Iterable[str]) -> Iterator[dict]:
    """Those of some methods."""
    with tempfile.TemporaryDirectory() as folder:
        for name in methods:
            yield measured(name, Path(folder) / name)


def measured(name: str, folder: Path, **changes) -> dict:
    """The row of one method, fitted in ``folder``; ``changes`` of its settings."""
    start = time.process_time()
    settings = {**METHODS[name].keywords, **changes}
    if settings.get("encoder") == "given":
        settings["encoder"] = ENCODER
    METHODS[name].func(captures() / "nvidia_balloon1", folder, PRESET, options=OPTIONS, **settings)
    figures = json.loads((folder / "metrics.json").read_text())
    labels = figures.get("labels", {})
    return {
        "of": name, "PSNR": figures["psnr"], "SSIM": figures["ssim"], "LPIPS": figures.get("lpips"),
        "mIoU": labels.get("miou"), "accuracy": labels.get("accuracy"),
        "processor seconds": time.process_time() - start, "commit": machine()["commit"],
    }  # fmt: skip


def main(methods: list[str]) -> None:
    """Measure ``methods``, all if there are none, each written as soon as it is there."""
    for row in rows(methods or list(METHODS)):
        made = table(sorted(others("flow_real", row, ("of",)), key=lambda found: list(METHODS).index(found["of"])))
        write("flow_real", machine(), [made])
        print(row, flush=True)
    print(made)


if __name__ == "__main__":
    main(sys.argv[1:])
