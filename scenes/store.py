"""Scenes as folders of plain files: ``scene.json`` and a PNG or npz per layer and frame.

``scene.json`` alone, a *record*, says what a run used: cameras, times and splits, without pictures.
"""

from __future__ import annotations

import math
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
from .files import BadInput, inside, read_json, read_npz, write_json
from .layers import read_layer, suffix, write_layer, write_npz
from .scene import Frame, PointCloud, Scene, Tracks

KIND, VERSION = "semaflow scene", 1
POINTS = {"positions": "P3", "colors": "P3"}
TRACKS = {"positions": "NT3", "visible": "NT", "times": "T"} | dict.fromkeys(
    ("label", "instance", "part"), "N"
)
PLAIN = ("name", "label_names", "part_names", "frame_rate", "notes", "timed", "posed", "estimated")
COLORS = ("up", "background")


def save_scene(scene: Scene, folder: str | Path) -> None:
    """Write all layers of all frames; see :func:`load_scene`.

    Images, masks and alpha are kept in 8 bits, ids in 16, features in half precision, the rest in
    single precision. The folder appears whole or not at all; a scene that was there before is
    replaced.

    Raises BadInput: the folder holds anything but a saved scene, or cannot be written.
    """
    folder = replaceable(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise BadInput(f"{folder}: could not be written ({error.strerror})") from error
    try:
        _write(scene, temporary / "new")
        _swap(temporary / "new", folder, temporary / "old")
    except OSError as error:
        raise BadInput(f"{folder}: could not be written ({error.strerror})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replaceable(folder: str | Path) -> Path:
    """``folder`` if a scene can be saved there; BadInput when it holds anything but a saved scene."""
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and all(map(_ours, folder.iterdir()))):
        raise BadInput(f"{folder}: holds other files; save the scene to a new folder")
    return folder


def _ours(entry: Path) -> bool:
    return entry.name in ("scene.json", "points.npz", "tracks.npz", *Frame.LAYERS)


def _swap(new: Path, folder: Path, old: Path) -> None:
    """Put ``new`` in the place of ``folder``; on any error ``folder`` is what it was."""
    try:
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise


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
        layers = {layer: _reader(folder, layer, row["name"], source) for layer in row["layers"]}
        if "image" not in layers:
            raise BadInput(
                f"{source}: frame {row['name']}: holds no image (a run's record is no scene)"
            )
        frames.append(Frame(row["name"], row["camera"], row["time"], **layers))
    points = _dataclass(PointCloud, folder / "points.npz", POINTS) if record.get("points") else None
    tracks = _dataclass(Tracks, folder / "tracks.npz", TRACKS) if record.get("tracks") else None
    return Scene(
        frames=frames, points=points, tracks=tracks, source=folder, format="semaflow", **head
    )


def scene_record(scene: Scene) -> dict:
    """Names, cameras, times and splits as values for JSON; see :func:`apply_record`."""
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


def apply_record(scene: Scene, record: dict, source: str | Path = "record") -> Scene:
    """``scene`` with the frames, cameras, times and splits that ``record`` names; errors name its ``source``.

    Raises BadInput: a damaged record, one from a newer version, a frame that ``scene`` does not
    have or has in another size.
    """
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
    record.setdefault("timed", False)  # scenes saved before it was known
    kinds = {
        "name": str,
        "label_names": list,
        "part_names": list,
        "frame_rate": (int, float),
        "notes": list,
        "timed": bool,
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
    for key in COLORS:
        if len(record[key]) != 3 or not all(isinstance(x, (int, float)) for x in record[key]):
            raise BadInput(f"{source}: {key}: expected three numbers, got {record[key]!r}")
    for key in ("train", "test"):
        if not all(isinstance(index, int) and 0 <= index < len(rows) for index in record[key]):
            raise BadInput(f"{source}: {key}: expected frame numbers below {len(rows)}")
    head = {key: record[key] for key in (*PLAIN, "train", "test")}
    return {**head, **{key: tuple(record[key]) for key in COLORS}}, rows


def _row(row, source: str) -> dict:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise BadInput(f"{source}: name: missing")
    source = f"{source} ({row['name']})"
    for key, kind in (("time", float), ("width", int), ("height", int)):
        value = row.get(key)
        if type(value) not in (int, kind) or not math.isfinite(value):
            raise BadInput(f"{source}: {key}: expected a number, got {value!r}")
    if not isinstance(row.setdefault("layers", []), list):
        raise BadInput(f"{source}: layers: expected a list of names")
    try:
        K, viewmat = np.array(row["K"], np.float64), np.array(row["viewmat"], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{source}: expected K 3x3 and viewmat 4x4") from error
    camera = Camera.checked(K, viewmat, row["width"], row["height"], source)
    return {**row, "camera": camera}


def _write(scene: Scene, folder: Path) -> None:
    record = scene_record(scene)
    for row, frame in zip(record["frames"], scene.frames, strict=True):
        if not re.fullmatch(r"[^/\\\0.][^/\\\0]*", frame.name):
            raise BadInput(f"{scene.name}: frame name {frame.name!r} cannot name a file")
        row["layers"] = [layer for layer in Frame.LAYERS if frame.has(layer)]
        for layer in row["layers"]:
            path = folder / layer / f"{frame.name}{suffix(layer)}"
            write_layer(path, layer, getattr(frame, layer))
    for name in ("points", "tracks"):
        value = getattr(scene, name)
        record[name] = value is not None
        if value is not None:
            arrays = {item.name: getattr(value, item.name) for item in fields(value)}
            write_npz(
                folder / f"{name}.npz",
                {key: array for key, array in arrays.items() if array is not None},
            )
    write_json(folder / "scene.json", record)


def _reader(folder: Path, layer: str, name: str, source: Path) -> Callable[[], Tensor]:
    if layer not in Frame.LAYERS:
        raise BadInput(f"{source}: frame {name}: unknown layer {layer!r}")
    path = inside(folder, f"{layer}/{name}{suffix(layer)}", source, f"frame {name}")
    return partial(read_layer, path, layer)


def _dataclass(kind: type, path: Path, shapes: dict[str, str]):
    """A dataclass of tensors from the npz file of its fields; ``shapes`` as in "NT3", a letter for
    any length, the same one wherever it stands."""
    arrays = read_npz(path)
    lengths: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in arrays:
            raise BadInput(f"{path}: {name}: missing")
        given = arrays[name].shape
        expected = [
            int(mark) if mark.isdigit() else lengths.setdefault(mark, length)
            for mark, length in zip(shape, given, strict=False)
        ]
        if len(given) != len(shape) or list(given) != expected:
            raise BadInput(f"{path}: {name}: expected shape {list(shape)}, got {list(given)}")
    known = {item.name for item in fields(kind)}
    return kind(
        **{name: torch.from_numpy(array) for name, array in arrays.items() if name in known}
    )
