"""Replica rooms as Semantic-NeRF renders them, and the cut of these that DM-NeRF has for instances.

Straub et al., 2019; Zhi et al., ICCV 2021; Wang et al., ICLR 2023. ``rgb``, ``depth`` and ids of classes and instances
in pictures numbered from 0, and ``traj_w_c.txt`` with a line per frame: camera to world, OpenCV axes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..camera import Camera
from ..files import BadInput, existing
from ..images import read_indices
from ..scene import Scene
from .facts import facts, frame_split
from .indoor import class_reader, class_table, depth_range, depth_reader, numbered, scene_of
from .options import whole
from .views import View, from_pose, intrinsics

FORMAT = "replica"
POSES = "traj_w_c.txt"


def detect(path: Path) -> bool:
    return any((folder / POSES).is_file() and (folder / "rgb").is_dir() for folder in (path, path / "Sequence_1"))


def read(path: Path, split: str | None = None, sequence: int = 1, near: float = 0.1, far: float = 10.0) -> Scene:
    """One sequence of a room.

    Args:
        split: ``generalised``: every 5th of the first 700 frames trains; ``finetune``: every 3rd, the test frames and
            their neighbours excepted; both test on frames 2, 22 ... 182. ``semantic-nerf``: every 5th frame trains, 2
            frames after each is tested. ``dm-nerf``: the same, of which every 4th is tested; the default where there
            are instances and no classes, otherwise ``generalised`` is. ``all``: every frame trains.
        sequence: which of the folders ``Sequence_N`` in ``path``, unless ``path`` is a sequence itself.
        near, far: depth outside of this is 0, metres.

    Pictures were rendered at 640x480 with a horizontal field of view of 90 degrees; smaller copies may take their
    place. ``depth/depth_N.png`` in millimetres, ``semantic_class/semantic_class_N.png`` and
    ``semantic_instance/semantic_instance_N.png`` may be there or not. Instance ids stay as they are, 0 too.
    """
    known = facts(FORMAT)
    near, far = depth_range(near, far, path)
    folder = path if (path / POSES).is_file() else path / f"Sequence_{whole('sequence', sequence, 1)}"
    files, poses = numbered(folder / "rgb"), _poses(folder / POSES)
    if (last := max(files)) >= len(poses):
        raise BadInput(f"{folder / POSES}: expected a line for each frame up to {last}, got {len(poses)}")
    layers = {
        name: numbered(folder / where)
        for name, where in (("depth", "depth"), ("label", "semantic_class"), ("instance", "semantic_instance"))
        if (folder / where).is_dir()
    }
    if split is None:
        split = "dm-nerf" if "instance" in layers and "label" not in layers else "generalised"
    lost = [number for number in files if not np.isfinite(poses[number]).all()]
    train, test = frame_split(known["frames"], split, [n for n in files if n not in lost], folder)
    table = class_table([int(raw) for raw in known["classes"]])
    readers = {
        "depth": lambda file: depth_reader(file, known["depth"]["scale"], near, far),
        "label": lambda file: class_reader(file, table),
        "instance": lambda file: lambda: read_indices(file, ignore=None),
    }

    def view(number: int, time: float) -> View:
        camera = _camera(poses[number], known["camera"], f"{folder / POSES}: line {number + 1}")
        shown = {name: readers[name](found[number]) for name, found in layers.items() if number in found}
        return View(str(number), files[number], camera, time, layers=shown)

    names = list(known["classes"].values()) if "label" in layers else []
    return scene_of(path, folder, view, train, test, names, lost)


def _camera(pose: np.ndarray, lens: dict, source: str) -> Camera:
    K = intrinsics(*(lens[name] for name in ("fx", "fy", "cx", "cy")))
    return from_pose(pose, "opencv", K, (lens["width"], lens["height"]), source)


def _poses(path: Path) -> np.ndarray:
    """Camera to world of each line, float64 [N, 4, 4], finite or not."""
    rows = [line.split() for line in existing(path).read_text(errors="replace").splitlines() if line.strip()]
    for index, row in enumerate(rows, 1):
        try:
            numbers = [float(word) for word in row]
        except ValueError:
            numbers = []
        if len(numbers) != 16:
            raise BadInput(f"{path}: line {index}: expected 16 numbers, a 4x4 camera-to-world matrix")
        rows[index - 1] = numbers
    return np.array(rows).reshape(-1, 4, 4)
