"""NR-NeRF's ``precomputed.json``: camera-to-world [3, 5] per frame, OpenGL axes.

Tretschk et al., Non-Rigid Neural Radiance Fields, ICCV 2021.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..files import BadInput, read_json
from ..images import image_files
from ..scene import Scene
from .folder import frame_folder
from .views import View, frames_of, from_pose, in_order, intrinsics, numbers, upward

FORMAT = "nrnerf"


def detect(path: Path) -> bool:
    return (path / "precomputed.json").is_file()


def read(path: Path) -> Scene:
    """Frames in order of their file names; ``i_test``, number or list, are the test frames.

    A pose's fifth column is height, width and focal of the stored image.
    """
    source = path / "precomputed.json"
    head = read_json(source)
    folder = frame_folder(path)
    files = image_files(folder) if folder else []
    if not isinstance(head, dict) or not isinstance(head.get("poses"), list):
        raise BadInput(f"{source}: poses: expected a list of 3x5 matrices")
    if len(head["poses"]) != len(files):
        raise BadInput(
            f"{source}: poses: expected {len(files)}, one per image, got {len(head['poses'])}"
        )
    views = []
    for index, (file, time) in enumerate(zip(files, in_order(len(files)), strict=True)):
        matrix = numbers(head["poses"][index], (3, 5), source, f"poses[{index}]")
        if not np.isfinite(matrix).all():
            raise BadInput(f"{source}: poses[{index}]: holds NaN or infinity")
        height, width, focal = matrix[:, 4]
        pose = np.vstack([matrix[:, :4], [0, 0, 0, 1]])
        K = intrinsics(focal, focal, width / 2, height / 2)
        size = (round(width), round(height))
        camera = from_pose(pose, "opengl", K, size, f"{source}: poses[{index}]")
        views.append(View(file.stem, file, camera, time))
    tested = head.get("i_test", [])
    tested = tested if isinstance(tested, list) else [tested]
    for index in tested:
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(views):
            raise BadInput(
                f"{source}: i_test: expected frame numbers below {len(views)}, got {index!r}"
            )
    frames = frames_of(views, path)
    return Scene(
        path.resolve().name,
        frames,
        train=[index for index in range(len(frames)) if index not in tested],
        test=sorted(tested),
        up=upward([frame.camera for frame in frames]),
    )
