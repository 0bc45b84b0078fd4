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
    return {
        "processor": processor,
        "cores": cores(),
        "load": round(os.getloadavg()[0], 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def commit() -> str:
    """The commit that is measured, marked dirty if files other than results differ from it."""
    name = _git("describe", "--always", "--abbrev=10")
    changed = _git("status", "--porcelain", "--untracked-files=no", ":(top)", ":(exclude)results")
    return f"{name}-dirty" if changed else name or "unknown"


def _git(*arguments: str) -> str:
    place = Path(__file__).parent
    return subprocess.run(["git", *arguments], cwd=place, capture_output=True, text=True, check=False).stdout.strip()


TICK = 1e-6  # milliseconds: what passes between two ticks of a clock takes some time too


def milliseconds(
    *contenders: tuple[Callable[[], object], ...],
    seconds: float = 5.0,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Best time of each step of each contender by ``clock``, in a warm process.

    The contenders take turns until each has had ``seconds`` (and three turns at least). In its
    turn a contender goes through its steps several times on end, as it would in use. Turns are a
    moment apart, since OpenMP's threads go on spinning for a while after their work is done and
    would take a core from the next. The best, not the mean: whatever else the machine does only
    ever adds. A step ends when ``device`` is done with it.
    """
    best = [[float("inf")] * len(steps) for steps in contenders]
    spent = [0.0] * len(contenders)
    turns = 0
    while turns < 3 or min(spent) < seconds:
        for who, steps in enumerate(contenders):
            if turns >= 3 and spent[who] >= seconds:
                continue
            time.sleep(0.03)
            began = time.perf_counter()
            while True:
                for i, step in enumerate(steps):
                    start = clock()
                    step()
                    if device != "cpu":
                        torch.cuda.synchronize()
                    best[who][i] = min(best[who][i], max(1e3 * (clock() - start), TICK))
                if time.perf_counter() - began > 0.05 * seconds:
                    break
            spent[who] += time.perf_counter() - began
        turns += 1
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
                return f"{value:.2e}" if 0 < abs(value) < 1e-2 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
            return "" if value is None else str(value)

        cells = [self.columns, *([text(row.get(c)) for c in self.columns] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = [
            "  ".join(x.rjust(w) if i else x.ljust(w) for i, (x, w) in enumerate(zip(row, widths, strict=True)))
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


def others(name: str, new: dict, keys: tuple[str, ...]) -> list[dict]:
    """The rows of the first table in ``results/NAME.json`` and ``new`` in place of the one that has the same ``keys``:
    for what takes so long that rows are taken one at a time."""
    path = RESULTS / f"{name}.json"
    rows = json.loads(path.read_text())["tables"][0]["rows"] if path.exists() else []
    return [*(row for row in rows if any(row[key] != new[key] for key in keys)), new]
