"""What captures of rooms share: numbered files, depth in millimetres, raw class ids."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..files import BadInput, existing
from ..images import image_files, read_indices
from ..scene import Scene
from .views import View, frames_of, normalized, upward


def numbered(folder: Path) -> dict[int, Path]:
    """Pictures in ``folder`` by the number at the end of their names, ascending.

    Raises BadInput: none there, one without a number, or two of one number.
    """
    found: dict[int, Path] = {}
    for file in image_files(folder):
        digits = re.search(r"(\d+)$", file.stem)
        if digits is None:
            raise BadInput(f"{file}: expected a name that ends in the frame's number")
        if (number := int(digits[1])) in found:
            raise BadInput(f"{file}: frame {number} is there twice, see {found[number].name}")
        found[number] = file
    if not found:
        raise BadInput(f"{folder}: no images")
    return dict(sorted(found.items()))


def matrix(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """A matrix written as lines of numbers, float64; NaN and infinity are let through.

    Raises BadInput: no file, no numbers, or another shape.
    """
    path = existing(path)
    try:
        lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
        rows = [[float(word) for word in line] for line in lines]
    except (ValueError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: expected {shape[0]} lines of {shape[1]} numbers") from error
    if len(rows) != shape[0] or any(len(row) != shape[1] for row in rows):
        raise BadInput(f"{path}: expected {shape[0]} lines of {shape[1]} numbers, got {[len(row) for row in rows[:8]]}")
    return np.array(rows)


def depth_reader(file: Path, scale: float, near: float, far: float) -> Callable[[], Tensor]:
    """What gives z-depth [H, W] of a picture in units of ``scale``, 0 where it is outside ``near`` to ``far``."""
    return partial(_depth, existing(file), scale, near, far)


def _depth(file: Path, scale: float, near: float, far: float) -> Tensor:
    depth = read_indices(file, ignore=None) * scale
    return torch.where((depth >= near) & (depth <= far), depth, 0.0).float()


def depth_range(near: float, far: float, source: Path) -> tuple[float, float]:
    """Both as given; BadInput unless 0 <= near < far."""
    for name, value in (("near", near), ("far", far)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise BadInput(f"{source}: {name}: expected a depth in metres, got {value!r}")
    if not 0 <= near < far:
        raise BadInput(f"{source}: near, far: expected 0 <= near < far, got {near}, {far}")
    return float(near), float(far)


def class_table(ids: list[int]) -> Tensor:
    """Class of each raw id, int64 [2^16]: its place in ``ids``, -1 for all others."""
    table = torch.full((1 << 16,), -1, dtype=torch.int64)
    table[torch.tensor(ids)] = torch.arange(len(ids))
    return table


def class_reader(file: Path, table: Tensor) -> Callable[[], Tensor]:
    """What gives classes [H, W] of a picture of raw ids, by a table [2^16]."""
    return partial(_classes, existing(file), table)


def _classes(file: Path, table: Tensor) -> Tensor:
    return table[read_indices(file, ignore=None)]


def skipped(numbers: list[int]) -> list[str]:
    """A note on frames that have no finite pose."""
    if not numbers:
        return []
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return [f"{len(numbers)} frames without a finite pose are left out: {shown}"]


def scene_of(path: Path, folder: Path, view: Callable[[int, float], View], train: list[int], test: list[int],
             label_names: list[str], lost: list[int]) -> Scene:
    """The scene at ``path`` of the views that ``view(number, time)`` gives of files in ``folder``, training frames
    first; ``lost`` are the frames without a pose."""
    numbers = train + test
    frames = frames_of([view(*pair) for pair in zip(numbers, normalized(numbers), strict=True)], folder)
    return Scene(
        path.resolve().name, frames, train=list(range(len(train))), test=list(range(len(train), len(frames))),
        label_names=label_names, up=upward([frame.camera for frame in frames]), notes=skipped(lost),
    )
