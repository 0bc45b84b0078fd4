"""The files of a COLMAP model, text and binary: cameras, images and sparse points.

Their formats are described in COLMAP's documentation ("Output Format"), its camera models in its
source file ``sensor/models.h``. COLMAP's axes and pixel centres are ours.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ..camera import Camera
from ..files import BadInput, existing
from ..images import natural
from ..scene import PointCloud
from .lens import Lens
from .views import View, intrinsics

# name: (number in binary files, parameters; f or fx fy first, then cx cy, then distortion)
MODELS = {
    "SIMPLE_PINHOLE": (0, 3),
    "PINHOLE": (1, 4),
    "SIMPLE_RADIAL": (2, 4),
    "RADIAL": (3, 5),
    "OPENCV": (4, 8),
    "OPENCV_FISHEYE": (5, 8),
    "FULL_OPENCV": (6, 12),
    "FOV": (7, 5),
    "SIMPLE_RADIAL_FISHEYE": (8, 4),
    "RADIAL_FISHEYE": (9, 5),
    "THIN_PRISM_FISHEYE": (10, 12),
}
NO_OPENCV = ("FOV", "THIN_PRISM_FISHEYE")
ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")


def read_views(model: Path) -> list[View]:
    """Names, cameras and lenses of a model's images in natural order; ``image`` is still unset."""
    binary = (model / "images.bin").is_file() and (model / "cameras.bin").is_file()
    suffix = ".bin" if binary else ".txt"
    source = model / f"images{suffix}"
    with _parsing(model / f"cameras{suffix}") as file:
        cameras = dict(_cameras_bin(file) if binary else _cameras_txt(file))
    with _parsing(source) as file:
        images = list(_images_bin(file) if binary else _images_txt(file))
    views = []
    for name, quat, translation, camera_id in images:
        if camera_id not in cameras:
            raise BadInput(f"{source}: {name}: camera {camera_id} is not in cameras{suffix}")
        K, lens, size = cameras[camera_id]
        viewmat = np.eye(4)
        viewmat[:3, :3], viewmat[:3, 3] = _rotation(quat), translation
        views.append(
            View(name, Path(), Camera.checked(K, viewmat, *size, f"{source}: {name}"), lens=lens)
        )
    if not views:
        raise BadInput(f"{source}: the COLMAP model holds no images")
    return sorted(views, key=lambda view: natural(view.name))


def read_points(model: Path) -> PointCloud | None:
    """The model's sparse points, or None where it has none."""
    binary = model / "points3D.bin"
    if not binary.is_file() and not (model / "points3D.txt").is_file():
        return None
    source = binary if binary.is_file() else model / "points3D.txt"
    with _parsing(source) as file:
        rows = list(_points_bin(file) if binary.is_file() else _points_txt(file))
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)
    if not torch.isfinite(table).all():
        raise BadInput(f"{source}: a point holds NaN or infinity")
    return PointCloud(table[:, :3].float(), table[:, 3:].float() / 255) if len(table) else None


@contextlib.contextmanager
def _parsing(source: Path) -> Iterator[Path]:
    try:
        yield source
    except BadInput:
        raise
    except (struct.error, ValueError, IndexError) as error:
        raise BadInput(f"{source}: truncated or damaged COLMAP file ({error})") from error


def _rotation(quat: np.ndarray) -> np.ndarray:
    """Rotation matrix of a quaternion wxyz."""
    w, x, y, z = quat / np.linalg.norm(quat) if np.any(quat) else quat * np.nan
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def pinhole_and_lens(
    model: str, parameters: list[float], source: str
) -> tuple[np.ndarray, Lens | None]:
    """K [3, 3] and lens of a COLMAP camera; BadInput for a lens that OpenCV cannot straighten."""
    if model not in MODELS or model in NO_OPENCV:
        known = ", ".join(name for name in MODELS if name not in NO_OPENCV)
        raise BadInput(
            f"{source}: camera model {model}: expected one of {known}; "
            "COLMAP's image_undistorter makes one"
        )
    if len(parameters) != MODELS[model][1]:
        raise BadInput(
            f"{source}: {model}: expected {MODELS[model][1]} parameters, got {len(parameters)}"
        )
    if model in ONE_FOCAL:
        parameters = [parameters[0], *parameters]
    fx, fy, cx, cy, *distortion = parameters
    fisheye = "FISHEYE" in model
    if fisheye or model == "SIMPLE_RADIAL":
        distortion = distortion + [0.0] * (4 - len(distortion))
    elif model == "RADIAL":
        distortion = [*distortion, 0.0, 0.0]
    return intrinsics(fx, fy, cx, cy), Lens.checked(distortion, source, fisheye)


def _cameras_txt(source: Path) -> Iterator:
    for line in _lines(source):
        if not line.strip():
            continue
        number, name, width, height, *parameters = line.split()
        K, lens = pinhole_and_lens(
            name, [float(value) for value in parameters], f"{source}: camera {number}"
        )
        yield int(number), (K, lens, (int(width), int(height)))


def _images_txt(source: Path) -> Iterator:
    lines = _lines(source)
    for line in lines:
        if not line.strip():
            continue
        _, *numbers, camera, name = line.split(maxsplit=9)
        values = np.array([float(value) for value in numbers])
        yield name.strip(), values[:4], values[4:7], int(camera)
        next(lines, None)  # the image's 2D points, an empty line where it has none


def _points_txt(source: Path) -> Iterator:
    for line in _lines(source):
        if line.strip():
            yield [float(value) for value in line.split(maxsplit=7)[1:7]]


def _lines(source: Path) -> Iterator[str]:
    text = existing(source).read_text(encoding="utf-8")
    return (line for line in text.split("\n") if not line.startswith("#"))


class _Binary:
    """Little-endian values from the start of a file on."""

    def __init__(self, source: Path):
        self.data, self.place = existing(source).read_bytes(), 0

    def take(self, pattern: str) -> tuple:
        values = struct.unpack_from("<" + pattern, self.data, self.place)
        self.place += struct.calcsize("<" + pattern)
        return values

    def skip(self, count: int) -> None:
        self.place += count
        if self.place > len(self.data):
            raise ValueError(f"expected {self.place} bytes, got {len(self.data)}")

    def text(self) -> str:
        end = self.data.index(b"\0", self.place)
        start, self.place = self.place, end + 1
        return self.data[start:end].decode()


def _cameras_bin(source: Path) -> Iterator:
    file = _Binary(source)
    names = {number: name for name, (number, _) in MODELS.items()}
    for _ in range(*file.take("Q")):
        camera, kind, width, height = file.take("iiQQ")
        if kind not in names:
            raise BadInput(f"{source}: camera {camera}: unknown camera model number {kind}")
        parameters = list(file.take(f"{MODELS[names[kind]][1]}d"))
        K, lens = pinhole_and_lens(names[kind], parameters, f"{source}: camera {camera}")
        yield camera, (K, lens, (width, height))


def _images_bin(source: Path) -> Iterator:
    file = _Binary(source)
    for _ in range(*file.take("Q")):
        _, *pose, camera = file.take("i7di")
        name = file.text()
        (points,) = file.take("Q")
        file.skip(24 * points)  # x, y, point id
        yield name, np.array(pose[:4]), np.array(pose[4:]), camera


def _points_bin(source: Path) -> Iterator:
    file = _Binary(source)
    for _ in range(*file.take("Q")):
        _, x, y, z, red, green, blue, _, length = file.take("QdddBBBdQ")
        file.skip(8 * length)  # image id, index
        yield [x, y, z, red, green, blue]
