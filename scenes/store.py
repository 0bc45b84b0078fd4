"""Scenes as folders of plain files: ``scene.json``, a PNG or npz per layer and frame, points and
tracks as npz.

``scene.json`` alone, a *record*, says what a run used: cameras, times and splits, without pictures.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .camera import Camera
from .files import BadInput, inside, read_json, read_npz, replacing, write_json
from .images import INDICES, read_image, read_indices, write_image
from .scene import Frame, PointCloud, Scene, Tracks

KIND, VERSION = "semaflow scene", 1
PICTURES = ("image", "alpha", "mask", *INDICES)  # layers kept as PNG, the others as npz
PLAIN = ("name", "label_names", "part_names", "frame_rate", "notes", "posed", "estimated")
COLORS = ("up", "background")


def save_scene(scene: Scene, folder: str | Path) -> None:
    """Write all layers of all frames; see :func:`load_scene`.

    Images, masks and alpha are kept in 8 bits, ids in 16, features in half precision, the rest in
    single precision. The folder appears whole or not at all; a scene that was there before is
    replaced.

    Raises BadInput: the folder holds anything but a saved scene, or cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not (
        is_saved(folder) or (folder.is_dir() and not any(folder.iterdir()))
    ):
        raise BadInput(f"{folder}: holds other files; save the scene to a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise BadInput(f"{folder}: could not be written ({error.strerror})") from error
    try:
        _write(scene, temporary / "new")
        if folder.exists():
            folder.rename(temporary / "old")
        (temporary / "new").rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_scene(folder: str | Path) -> Scene:
    """The scene saved in ``folder``; layers are read when they are first asked for.

    Raises BadInput: no saved scene, one from a newer version, damaged or missing fields.
    """
    folder = Path(folder)
    source = folder / "scene.json"
    record = read_json(source)
    head, rows = _checked(record, source)
    frames = []
    for row in rows:
        layers = {
            layer: _reader(folder, layer, row["name"], source) for layer in row.get("layers", [])
        }
        if "image" not in layers:
            raise BadInput(
                f"{source}: frame {row['name']}: holds no image (a run's record is no scene)"
            )
        frames.append(Frame(row["name"], row["camera"], row["time"], **layers))
    points = _dataclass(PointCloud, folder / "points.npz") if record.get("points") else None
    tracks = _dataclass(Tracks, folder / "tracks.npz") if record.get("tracks") else None
    return Scene(
        frames=frames, points=points, tracks=tracks, source=folder, format="semaflow", **head
    )


def is_saved(folder: str | Path) -> bool:
    """Whether ``folder`` holds a saved scene (or a record)."""
    path = Path(folder) / "scene.json"
    if not path.is_file():
        return False
    try:
        record = read_json(path)
    except BadInput:
        return False
    return isinstance(record, dict) and record.get("kind") == KIND


def scene_record(scene: Scene) -> dict:
    """Names, cameras, times and splits of a scene as plain values for JSON; see
    :func:`apply_record`."""
    return {
        "kind": KIND,
        "version": VERSION,
        **{name: getattr(scene, name) for name in PLAIN},
        **{name: list(getattr(scene, name)) for name in COLORS},
        "train": list(scene.train),
        "test": list(scene.test),
        "frames": [
            {
                "name": frame.name,
                "time": frame.time,
                "width": frame.camera.width,
                "height": frame.camera.height,
                "K": frame.camera.K.tolist(),
                "viewmat": frame.camera.viewmat.tolist(),
            }
            for frame in scene.frames
        ],
    }


def apply_record(scene: Scene, record: dict) -> Scene:
    """``scene`` with the cameras, times and splits of ``record``; frames that the record does not
    name are left out.

    Raises BadInput: a damaged record, one from a newer version, a frame that ``scene`` does not
    have or has in another size.
    """
    source = f"{scene.source or scene.name}: record"
    head, rows = _checked(record, source)
    known = {frame.name: frame for frame in scene.frames}
    frames = []
    for row in rows:
        frame, camera = known.get(row["name"]), row["camera"]
        if frame is None:
            raise BadInput(f"{source}: frame {row['name']!r} is not in the scene")
        if (camera.width, camera.height) != (frame.camera.width, frame.camera.height):
            raise BadInput(
                f"{source}: frame {row['name']}: expected {camera.width}x{camera.height}, "
                f"the scene has {frame.camera.width}x{frame.camera.height}"
            )
        changed = frame.with_camera(camera)
        changed.time = row["time"]
        frames.append(changed)
    return replace(scene, frames=frames, **head)


def _checked(record, source: str | Path) -> tuple[dict, list[dict]]:
    """A record's scene attributes, and its frames with a ``camera`` in place of numbers."""
    if not isinstance(record, dict) or record.get("kind") != KIND:
        raise BadInput(f"{source}: not a saved scene (kind: expected {KIND!r})")
    version = record.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise BadInput(
            f"{source}: version: {version!r} is newer than this version reads ({VERSION})"
        )
    kinds = {
        "name": str,
        "label_names": list,
        "part_names": list,
        "frame_rate": (int, float),
        "notes": list,
        "posed": bool,
        "estimated": bool,
        "up": list,
        "background": list,
        "train": list,
        "test": list,
        "frames": list,
    }
    for key, kind in kinds.items():
        if not isinstance(record.get(key), kind):
            raise BadInput(f"{source}: {key}: missing or of the wrong kind")
    rows = [_row(row, f"{source}: frames[{index}]") for index, row in enumerate(record["frames"])]
    if len({row["name"] for row in rows}) < len(rows):
        raise BadInput(f"{source}: frames: two have the same name")
    for key in ("train", "test"):
        if not all(isinstance(index, int) and 0 <= index < len(rows) for index in record[key]):
            raise BadInput(f"{source}: {key}: expected frame numbers below {len(rows)}")
    head = {key: record[key] for key in (*PLAIN, "train", "test")}
    return {**head, **{key: tuple(record[key]) for key in COLORS}}, rows


def _row(row, source: str) -> dict:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise BadInput(f"{source}: name: missing")
    source = f"{source} ({row['name']})"
    for key in ("time", "width", "height"):
        if isinstance(row.get(key), bool) or not isinstance(row.get(key), (int, float)):
            raise BadInput(f"{source}: {key}: expected a number, got {row.get(key)!r}")
    try:
        K, viewmat = np.array(row["K"], np.float64), np.array(row["viewmat"], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{source}: expected K 3x3 and viewmat 4x4") from error
    camera = Camera.checked(K, viewmat, int(row["width"]), int(row["height"]), source)
    return {**row, "camera": camera}


def _write(scene: Scene, folder: Path) -> None:
    record = scene_record(scene)
    for row, frame in zip(record["frames"], scene.frames, strict=True):
        if not re.fullmatch(r"[^/\\\0.][^/\\\0]*", frame.name):
            raise BadInput(f"{scene.name}: frame name {frame.name!r} cannot name a file")
        row["layers"] = [layer for layer in Frame.LAYERS if frame.has(layer)]
        for layer in row["layers"]:
            path = folder / layer / f"{frame.name}{_suffix(layer)}"
            _write_layer(path, layer, getattr(frame, layer))
    for name in ("points", "tracks"):
        value = getattr(scene, name)
        record[name] = value is not None
        if value is not None:
            arrays = {item.name: getattr(value, item.name) for item in fields(value)}
            _write_npz(
                folder / f"{name}.npz",
                {key: array for key, array in arrays.items() if array is not None},
            )
    write_json(folder / "scene.json", record)


def _suffix(layer: str) -> str:
    return ".png" if layer in PICTURES else ".npz"


def _write_layer(path: Path, layer: str, value: Tensor) -> None:
    array = value.detach().cpu().numpy()
    if layer in INDICES:
        if array.min() < -1 or array.max() > 65534:
            raise BadInput(
                f"{path}: {layer}: expected ids in -1..65534, got {array.min()}..{array.max()}"
            )
        write_image(path, (array + 1).astype(np.uint16))
    elif layer in PICTURES:
        write_image(path, (array.astype(np.float32).clip(0, 1) * 255 + 0.5).astype(np.uint8))
    else:
        _write_npz(path, {layer: torch.from_numpy(array).half() if layer == "features" else value})


def _write_npz(path: Path, tensors: dict[str, Tensor]) -> None:
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file, **{name: np.asarray(tensor.detach().cpu()) for name, tensor in tensors.items()}
        )


def _reader(folder: Path, layer: str, name: str, source: Path) -> Callable[[], Tensor]:
    if layer not in Frame.LAYERS:
        raise BadInput(f"{source}: frame {name}: unknown layer {layer!r}")
    path = inside(folder, f"{layer}/{name}{_suffix(layer)}", source, f"frame {name}")
    return partial(_read_layer, path, layer)


def _read_layer(path: Path, layer: str) -> Tensor:
    if layer in INDICES:
        return read_indices(path, ignore=None) - 1
    if layer == "image":
        return read_image(path)
    if layer in PICTURES:
        levels = read_indices(path, ignore=None)
        return levels > 127 if layer == "mask" else levels.float() / 255
    arrays = read_npz(path)
    if layer not in arrays:
        raise BadInput(f"{path}: expected an array {layer}, got {', '.join(arrays) or 'none'}")
    return torch.from_numpy(arrays[layer].astype(np.float32))


def _dataclass(kind: type, path: Path):
    """A :class:`PointCloud` or :class:`Tracks` from the npz file of its fields."""
    arrays = read_npz(path)
    needed = [item.name for item in fields(kind) if item.name not in ("times",) or kind is Tracks]
    if missing := [name for name in needed if name not in arrays]:
        raise BadInput(f"{path}: {missing[0]}: missing")
    known = {item.name for item in fields(kind)}
    return kind(
        **{name: torch.from_numpy(array) for name, array in arrays.items() if name in known}
    )
