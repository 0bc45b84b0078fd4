"""``transforms.json`` of nerfstudio and instant-ngp: camera-to-world poses with OpenGL axes.

Fields as in nerfstudio's "Data conventions" page and instant-ngp's ``docs/nerf_dataset_tips.md``.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from ..files import BadInput, existing, inside, read_json
from ..images import image_size, natural
from ..scene import PointCloud, Scene
from .lens import Lens
from .views import (
    View,
    background_color,
    frames_of,
    from_pose,
    in_order,
    intrinsics,
    numbers,
    pixel_count,
    upward,
)

FORMAT = "transforms"
SUFFIXES = ("", ".png", ".jpg", ".jpeg")
PLAIN_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE")


def transforms_file(path: Path) -> Path:
    """The file itself, given it or its folder."""
    return path / "transforms.json" if path.is_dir() else path


def detect(path: Path) -> bool:
    file = transforms_file(path)
    return file.is_file() and file.name.startswith("transforms") and file.suffix == ".json"


def read(path: Path, background: str = "black") -> Scene:
    """Frames in natural order of their file names, or by ``time`` where the file gives one.

    Intrinsics stand in the file's head or in each frame (``fl_x``, ``fl_y``, ``cx``, ``cy``, ``w``,
    ``h``, or ``camera_angle_x``); distortion (``k1``...``k4``, ``p1``, ``p2``, ``camera_model``
    OPENCV_FISHEYE) is straightened. ``test_filenames`` name test frames. ``background``: black or
    white, behind transparent pixels.
    """
    file = transforms_file(path)
    color = background_color(background)
    head = read_json(file)
    views = read_views(file)
    frames = frames_of(views, file, color)
    tests = head.get("test_filenames", [])
    if not isinstance(tests, list):
        raise BadInput(f"{file}: test_filenames: expected a list of paths")
    by_time = sorted(range(len(frames)), key=lambda index: frames[index].time)
    tested = [
        index
        for index in by_time
        if str(views[index].image.relative_to(file.parent.resolve())) in tests
    ]
    return Scene(
        file.resolve().parent.name,
        frames,
        train=[index for index in by_time if index not in set(tested)],
        test=tested,
        points=_points(file, head),
        up=upward([frame.camera for frame in frames]),
        background=color,
        timed=all("time" in entry for entry in head["frames"]),
    )


def read_views(file: Path, prefix: str = "") -> list[View]:
    """The views of a transforms file in natural order; their names begin with ``prefix``."""
    head = read_json(file)
    if not isinstance(head, dict) or not isinstance(head.get("frames"), list) or not head["frames"]:
        raise BadInput(f"{file}: frames: expected a list of frames")
    for index, entry in enumerate(head["frames"]):
        if not isinstance(entry, dict) or not isinstance(entry.get("file_path"), str):
            raise BadInput(f"{file}: frames[{index}].file_path: expected the path of an image")
        if "transform_matrix" not in entry:
            raise BadInput(f"{file}: frames[{index}].transform_matrix: missing")
    entries = sorted(head["frames"], key=lambda entry: natural(entry["file_path"]))
    times = [entry.get("time") for entry in entries]
    if any(time is None for time in times):
        times = in_order(len(entries))
    views = []
    for entry, time in zip(entries, times, strict=True):
        source = f"{file}: {entry['file_path']}"
        if isinstance(time, bool) or not isinstance(time, (int, float)) or not 0 <= time <= 1:
            raise BadInput(f"{source}: time: expected a number in 0..1, got {time!r}")
        image = _image(file, entry["file_path"])
        K, size, lens = _intrinsics({**head, **entry}, image, source)
        pose = numbers(entry["transform_matrix"], (4, 4), source, "transform_matrix")
        name = Path(entry["file_path"]).with_suffix("").name
        views.append(
            View(prefix + name, image, from_pose(pose, "opengl", K, size, source), time, lens)
        )
    _distinguish(views, file)
    return views


def _distinguish(views: list[View], file: Path) -> None:
    """Name frames by their folders too where images of several folders share names."""
    if len({view.name for view in views}) < len(views):
        root = file.parent.resolve()
        for view in views:
            view.name = view.image.relative_to(root).with_suffix("").as_posix().replace("/", "_")


def _image(file: Path, relative: str) -> Path:
    target = inside(file.parent, relative, file, "file_path")
    for suffix in SUFFIXES:
        candidate = target.with_name(target.name + suffix)
        if candidate.is_file():
            return candidate
    return existing(target)


def _intrinsics(
    entry: dict, image: Path, source: str
) -> tuple[np.ndarray, tuple[int, int], Lens | None]:
    def number(name: str, default: float | None = None) -> float | None:
        return float(numbers(entry[name], (), source, name)) if name in entry else default

    size = (
        (pixel_count(entry["w"], source, "w"), pixel_count(entry["h"], source, "h"))
        if {"w", "h"} <= set(entry)
        else image_size(image)
    )
    angle_x, angle_y = number("camera_angle_x"), number("camera_angle_y")
    fx = number("fl_x", angle_x and 0.5 * size[0] / math.tan(0.5 * angle_x))
    if fx is None:
        raise BadInput(f"{source}: focal length missing: expected fl_x or camera_angle_x")
    fy = number(
        "fl_y", 0.5 * size[1] / math.tan(0.5 * angle_y) if angle_y and "fl_x" not in entry else fx
    )
    K = intrinsics(fx, fy, number("cx", size[0] / 2), number("cy", size[1] / 2))
    model = str(entry.get("camera_model", "OPENCV"))
    fisheye = model == "OPENCV_FISHEYE" or bool(entry.get("is_fisheye"))
    if not fisheye and model not in PLAIN_MODELS:
        expected = ", ".join((*PLAIN_MODELS, "OPENCV_FISHEYE"))
        raise BadInput(f"{source}: camera_model: expected one of {expected}, got {model!r}")
    names = ("k1", "k2", "k3", "k4") if fisheye else ("k1", "k2", "p1", "p2", "k3")
    return K, size, Lens.checked([number(name, 0.0) for name in names], source, fisheye)


def _points(file: Path, head: dict) -> PointCloud | None:
    if not isinstance(head.get("ply_file_path"), str):
        return None
    return read_ply(inside(file.parent, head["ply_file_path"], file, "ply_file_path"))


def read_ply(path: Path) -> PointCloud:
    """The vertices of a PLY file, grey where they have no colour."""
    from plyfile import PlyData

    try:
        vertices = PlyData.read(str(existing(path)))["vertex"]
        positions = np.stack([vertices[axis] for axis in ("x", "y", "z")], -1).astype(np.float32)
        channels = [vertices[name] for name in ("red", "green", "blue") if name in vertices]
    except BadInput:
        raise
    except Exception as error:  # plyfile's parsing errors and missing properties
        raise BadInput(f"{path}: not a readable PLY file of points ({error})") from error
    if not np.isfinite(positions).all():
        raise BadInput(f"{path}: a point holds NaN or infinity")
    grey = np.full_like(positions, 0.5)
    colors = np.stack(channels, -1).astype(np.float32) / 255 if len(channels) == 3 else grey
    return PointCloud(torch.from_numpy(positions), torch.from_numpy(colors))
