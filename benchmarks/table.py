"""What every benchmark says beside its figures: on which machine, at which commit, how it was
timed."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict:
    """Processor, cores, what else keeps them busy, accelerator, versions, commit and date."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "processor": processor,
        "cores": cores(),
        "load": round(os.getloadavg()[0], 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": git.stdout.strip() or "unknown",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def milliseconds(
    *steps: Callable[[], object], rounds: int = 7, seconds: float = 20.0
) -> list[float]:
    """Best time of each step over several rounds of all of them, after one round to warm up.

    At most about ``seconds`` in all, but three rounds at least. The best, not the mean: whatever
    else the machine does only ever adds.
    """
    best = [float("inf")] * len(steps)
    began = time.perf_counter()
    for round_ in range(-1, rounds):
        if round_ >= 3 and time.perf_counter() - began > seconds:
            break
        for i, step in enumerate(steps):
            start = time.perf_counter()
            step()
            if round_ >= 0:
                best[i] = min(best[i], 1e3 * (time.perf_counter() - start))
    return best


@dataclass
class Table:
    """Rows of named figures under one heading."""

    title: str
    columns: list[str]
    rows: list[dict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, **figures) -> None:
        """One more row; columns that are not given stay empty."""
        unknown = set(figures) - set(self.columns)
        assert not unknown, f"{self.title}: no columns {unknown}"
        self.rows.append(figures)

    def __str__(self) -> str:
        def text(value) -> str:
            if isinstance(value, float):
                return (
                    f"{value:.2e}"
                    if 0 < abs(value) < 1e-2
                    else f"{value:.2f}"
                    if value < 100
                    else f"{value:.0f}"
                )
            return "" if value is None else str(value)

        cells = [self.columns, *([text(row.get(c)) for c in self.columns] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = [
            "  ".join(
                x.rjust(w) if i else x.ljust(w)
                for i, (x, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in cells
        ]
        return "\n".join([self.title, lines[0], "-" * len(lines[0]), *lines[1:], *self.notes])


def write(name: str, taken_on: dict, tables: list[Table]) -> Path:
    """Save the tables of a benchmark, and what :func:`machine` said, as ``results/NAME.json``."""
    record = {
        "machine": taken_on,
        "tables": [{"title": t.title, "rows": t.rows, "notes": t.notes} for t in tables],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path
