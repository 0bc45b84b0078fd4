"""The user's own cameras for a video or a folder of frames: COLMAP, ``transforms.json``, npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..camera import Camera
from ..files import BadInput, read_npz
from ..scene import PointCloud
from . import transforms
from .colmap import model_folder
from .colmap_files import read_points, read_views
from .lens import Lens
from .views import View, from_pose


def cameras_for(
    names: list[str], size: tuple[int, int], path: str | Path
) -> tuple[list[tuple[Camera, Lens | None] | None], PointCloud | None]:
    """Camera and lens for each frame, None where there is none, and the points with them.

    Cameras belong to frames by file name (without its ending) where the names are known, otherwise
    in order, and then there must be as many cameras as frames.

    Args:
        names: all the video's frames, in order.
        size: of the frames, in pixels; npz cameras without ``width`` and ``height`` are for it.

    Raises BadInput: unreadable or non-rigid cameras, or cameras that fit neither the names nor the
    number of frames.
    """
    path = Path(path)
    points = None
    if path.suffix == ".npz":
        named, cameras = _from_npz(path, size)
    elif path.is_dir() and (model := model_folder(path)):
        named, cameras = _of_views(read_views(model))
        points = read_points(model)
    elif transforms.detect(path):
        named, cameras = _of_views(transforms.read_views(transforms.transforms_file(path)))
    elif path.exists():
        raise BadInput(
            f"{path}: cameras: expected a COLMAP model's folder, transforms.json or an npz file"
        )
    else:
        raise BadInput(f"{path}: no such file or folder")

    # Some names in common prove nothing: one video's frames may be counted from 0 or from 1.
    if named and (set(named) <= set(names) or set(names) <= set(named)):
        by_name = dict(zip(named, cameras, strict=True))
        return [by_name.get(name) for name in names], points
    if len(cameras) != len(names):
        raise BadInput(
            f"{path}: cameras: expected one for each of {len(names)} frames, got {len(cameras)}"
        )
    return cameras, points


def _of_views(views: list[View]) -> tuple[list[str], list[tuple[Camera, Lens | None]]]:
    return [Path(view.name).stem for view in views], [(view.camera, view.lens) for view in views]


def _from_npz(path: Path, size: tuple[int, int]) -> tuple[list[str], list[tuple[Camera, None]]]:
    """Cameras of an npz file with OpenCV axes.

    Arrays: ``viewmats`` (world to camera) or ``c2w`` [N, 4, 4]; ``Ks`` [N, 3, 3] or ``K`` [3, 3] in
    pixels; optionally ``width`` and ``height`` of the pixels' image, and ``names`` [N] of the
    frames.
    """
    arrays = read_npz(path)
    pose = next((key for key in ("viewmats", "c2w") if key in arrays), None)
    focal = next((key for key in ("Ks", "K") if key in arrays), None)
    if pose is None or focal is None:
        raise BadInput(
            f"{path}: expected arrays viewmats or c2w, and Ks or K, "
            f"got {', '.join(sorted(arrays)) or 'none'}"
        )
    poses, count = arrays[pose], len(np.atleast_1d(arrays[pose]))
    Ks = arrays[focal] if arrays[focal].ndim == 3 else np.repeat(arrays[focal][None], count, 0)
    for key, array, shape in ((pose, poses, (count, 4, 4)), (focal, Ks, (count, 3, 3))):
        if array.shape != shape or array.dtype.kind not in "fiu":
            raise BadInput(
                f"{path}: {key}: expected numbers of shape {list(shape)}, "
                f"got {array.dtype} {list(array.shape)}"
            )
    if ("width" in arrays) != ("height" in arrays):
        raise BadInput(f"{path}: expected both width and height, or neither")
    if "width" in arrays:
        size = (int(arrays["width"]), int(arrays["height"]))
    named = [str(name) for name in np.atleast_1d(arrays["names"])] if "names" in arrays else []
    if named and len(named) != count:
        raise BadInput(f"{path}: names: expected {count}, got {len(named)}")
    cameras = []
    for index in range(count):
        source = f"{path}: {pose}[{index}]"
        if pose == "c2w":
            camera = from_pose(poses[index], "opencv", Ks[index], size, source)
        else:
            camera = Camera.checked(
                Ks[index].astype(np.float64), poses[index].astype(np.float64), *size, source
            )
        cameras.append((camera, None))
    return [Path(name).stem for name in named], cameras
