"""Nerfies and HyperNeRF captures: a camera json per image, images in several sizes, split lists.

Park et al., Nerfies, ICCV 2021; HyperNeRF, SIGGRAPH Asia 2021. ``orientation`` is the
world-to-camera rotation, ``position`` the camera centre, axes are OpenCV's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..camera import Camera
from ..files import BadInput, existing, inside, read_json, read_npz
from ..scene import PointCloud, Scene
from .lens import Lens
from .views import View, frames_of, intrinsics, normalized, numbers, pixel_count, upward

FORMAT = "nerfies"
RESOLUTIONS = ("2x", "1x", "4x", "8x", "16x")  # 2x is what HyperNeRF's evaluation uses
SPLITS = ("auto", "given", "interp", "all")


def detect(path: Path) -> bool:
    return (path / "camera").is_dir() and (path / "dataset.json").is_file()


def read(path: Path, resolution: str | None = None, split: str = "auto") -> Scene:
    """Frames of ``dataset.json``'s ids, in order of their time.

    Args:
        resolution: which folder of ``rgb`` to read; the first there is of 2x, 1x, 4x, 8x, 16x by
            default.
        split: ``given``: the lists ``train_ids`` and ``val_ids``; ``interp``: of all ids 0, 4, 8...
            train and 2, 6, 10... test, as HyperNeRF's interpolation set; ``all``: every id trains;
            ``auto``: given where there are ``val_ids``, else all.

    Positions and points are moved and scaled to ``scene.json``'s unit scene. Time is ``time_id`` of
    ``metadata.json``, or ``warp_id``, over the largest.
    """
    dataset = read_json(path / "dataset.json")
    if split not in SPLITS:
        raise BadInput(f"{path}: split: expected one of {', '.join(SPLITS)}, got {split!r}")
    train, test = _split(dataset, split, path / "dataset.json")
    folder = _images(path, resolution)
    center, scale = _unit(path / "scene.json")
    ids = train + test
    times = dict(zip(ids, _times(path / "metadata.json", ids), strict=True))
    train, test = (sorted(part, key=lambda item: times[item]) for part in (train, test))
    views = []
    for item in train + test:
        camera, lens = _camera(
            inside(path, f"camera/{item}.json", path / "dataset.json", "ids"), center, scale
        )
        image = inside(folder, f"{item}.png", path / "dataset.json", "ids")
        views.append(View(item, existing(image), camera, times[item], lens))
    frames = frames_of(views, path)
    return Scene(
        path.resolve().name,
        frames,
        train=list(range(len(train))),
        test=list(range(len(train), len(frames))),
        points=_points(path / "points.npy", center, scale),
        up=upward([frame.camera for frame in frames]),
        timed=True,
    )


def _split(dataset, split: str, source: Path) -> tuple[list[str], list[str]]:
    def ids(key: str) -> list[str]:
        found = dataset.get(key) if isinstance(dataset, dict) else None
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise BadInput(f"{source}: {key}: expected a list of image ids")
        return found

    if split == "interp":
        return ids("ids")[::4], ids("ids")[2::4]
    if split == "given" or (split == "auto" and dataset.get("val_ids")):
        return ids("train_ids"), ids("val_ids")
    return ids("ids"), []


def _images(path: Path, resolution: str | None) -> Path:
    names = RESOLUTIONS if resolution is None else (resolution,)
    for name in names:
        if (path / "rgb" / name).is_dir():
            return path / "rgb" / name
    raise BadInput(f"{path / 'rgb'}: expected a folder {' or '.join(names)}")


def _unit(source: Path) -> tuple[np.ndarray, float]:
    """Centre [3] and scale that take raw coordinates to the unit scene: (x - centre) * scale."""
    head = read_json(source)
    for key in ("center", "scale"):
        if not isinstance(head, dict) or key not in head:
            raise BadInput(f"{source}: {key}: missing")
    scale = float(numbers(head["scale"], (), source, "scale"))
    if not (np.isfinite(scale) and scale > 0):
        raise BadInput(f"{source}: scale: expected a positive number, got {scale:g}")
    return numbers(head["center"], (3,), source, "center"), scale


def _times(source: Path, ids: list[str]) -> list[float]:
    metadata = read_json(source)
    steps = []
    for item in ids:
        entry = metadata.get(item) if isinstance(metadata, dict) else None
        step = entry.get("time_id", entry.get("warp_id")) if isinstance(entry, dict) else None
        if isinstance(step, bool) or not isinstance(step, int):
            raise BadInput(
                f"{source}: {item}: expected a whole number time_id or warp_id, got {step!r}"
            )
        steps.append(float(step))
    return normalized(steps)


def _camera(source: Path, center: np.ndarray, scale: float) -> tuple[Camera, Lens | None]:
    head = read_json(source)

    def field(name: str, shape: tuple[int, ...], default=None) -> np.ndarray:
        value = head.get(name, default) if isinstance(head, dict) else None
        if value is None:
            raise BadInput(f"{source}: {name}: missing")
        return numbers(value, shape, source, name)

    focal, aspect = field("focal_length", ()), field("pixel_aspect_ratio", (), 1.0)
    width, height = (pixel_count(side, source, "image_size") for side in field("image_size", (2,)))
    rotation = field("orientation", (3, 3))
    viewmat = np.eye(4)
    viewmat[:3, :3] = rotation
    viewmat[:3, 3] = -rotation @ ((field("position", (3,)) - center) * scale)
    cx, cy = field("principal_point", (2,))
    K = intrinsics(focal, focal * aspect, cx, cy, field("skew", (), 0.0))
    k1, k2, k3 = field("radial_distortion", (3,), [0.0] * 3)
    older = "tangential" if "tangential" in head else "tangential_distortion"
    p1, p2 = field(older, (2,), [0.0] * 2)
    camera = Camera.checked(K, viewmat, width, height, str(source))
    return camera, Lens.checked((k1, k2, p1, p2, k3), str(source))


def _points(source: Path, center: np.ndarray, scale: float) -> PointCloud | None:
    if not source.is_file():
        return None
    raw = read_npz(source).get("array")
    if raw is None or raw.ndim != 2 or raw.shape[1] != 3 or not np.isfinite(raw).all():
        raise BadInput(f"{source}: expected finite numbers of shape [points, 3]")
    positions = torch.from_numpy((raw - center) * scale).float()
    return PointCloud(positions, torch.full_like(positions, 0.5))
