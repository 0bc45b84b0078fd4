"""Real captures below the folder that ``SEMAFLOW_DATA`` names, one row of a table for each."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from semaflow.tasks.run import Run
from semaflow.tasks.select import select
from semaflow.tasks.selection import Selection
from semaflow.tasks.targets import Target

from .table import Table


def captures() -> Path:
    """The folder that holds the captures."""
    data = os.environ.get("SEMAFLOW_DATA")
    if not data:
        raise SystemExit("set SEMAFLOW_DATA to the folder that holds the captures and weights/")
    return Path(data)


def fill(table: Table, places: Iterable[str], measured: Callable[[Path, Path], dict]) -> None:
    """Add and print the row that ``measured(capture, run_folder)`` makes of the capture at each of ``places``."""
    data = captures()
    for place in places:
        with tempfile.TemporaryDirectory() as folder:
            table.add(**measured(data / place, Path(folder) / "run"))
        print(table.rows[-1], flush=True)


def clicked(run: Run, target: Target, name: str) -> Selection:
    """The object that one click on ``target`` selects, in the first training frame that shows it well."""
    frames = run.scene.split("train")
    frame, pixel = target.click(frames)
    return select(run, name, click=pixel, frame=frames.index(frame))
