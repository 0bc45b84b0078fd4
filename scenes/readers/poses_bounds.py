"""``poses_bounds.npy``, the cameras of LLFF captures and of what builds on them.

A row holds camera-to-world [3, 5] (columns down, right, back, position, and height, width, focal of
the original image), then near and far. Mildenhall et al., LLFF, SIGGRAPH 2019.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..camera import Camera
from ..files import BadInput, read_npz
from .views import from_pose, intrinsics

FILE = "poses_bounds.npy"


def read_cameras(source: Path, count: int) -> list[Camera]:
    """The cameras of ``count`` pictures at the size of the original images, in the file's world.

    Raises BadInput: no array [count, 17], or a row that is no camera.
    """
    rows = read_npz(source).get("array")
    if rows is None or rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind != "f":
        raise BadInput(f"{source}: expected an array [frames, 17] of numbers")
    if len(rows) != count:
        raise BadInput(f"{source}: expected one row for each of {count} images, got {len(rows)}")
    cameras = []
    for index, row in enumerate(rows.astype(np.float64)):
        matrix = row[:15].reshape(3, 5)
        name = f"{source}: row {index}"
        if not np.isfinite(matrix).all():
            raise BadInput(f"{name}: camera matrix holds NaN or infinity")
        height, width, focal = matrix[:, 4]
        pose = np.eye(4)
        down, right, back = matrix[:, :3].T
        pose[:3] = np.stack([right, down, -back, matrix[:, 3]], -1)
        K = intrinsics(focal, focal, width / 2, height / 2)
        cameras.append(from_pose(pose, "opencv", K, (round(width), round(height)), name))
    return cameras
