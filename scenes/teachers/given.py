"""Maps that are already there: those of the scene itself, or precomputed files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..files import BadInput, existing, inside, read_npz, read_tensors
from ..scene import Frame
from .base import Teacher

SUFFIXES = (".npz", ".npy", ".safetensors")


class SceneTeacher(Teacher):
    """The frames' own ``features``: a simulated world's truth, or maps stored with the scene."""

    name, cached = "scene", False

    def key(self) -> str:
        return "scene"

    def map(self, image: Tensor) -> Tensor:
        raise BadInput(
            "teacher scene: has maps of the scene's own frames only, none for a single image"
        )

    def of_frame(self, frame: Frame, neighbour: Frame | None = None) -> Tensor:
        if not frame.has("features"):
            raise BadInput(
                f"{frame.name}: features: the scene has none; use another teacher than scene"
            )
        features = check_map(frame.features, f"{frame.name}: features", self.dim)
        self.dim = features.shape[-1]
        return features


class PrecomputedTeacher(Teacher):
    """Maps [h, w, D] by frame name, each covering the whole image.

    Args:
        path: one npz or safetensors file with an array per frame name; or a folder with
            ``FRAME.npz``, ``FRAME.npy`` or ``FRAME.safetensors`` each holding one array.
    """

    name, cached = "precomputed", False

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.exists():
            raise BadInput(f"{self.path}: no such file or folder")
        self._arrays = None if self.path.is_dir() else _read(self.path)

    def key(self) -> str:
        return f"precomputed {self.path.resolve()}"

    def map(self, image: Tensor) -> Tensor:
        raise BadInput(f"{self.path}: has maps of named frames only, none for a single image")

    def of_frame(self, frame: Frame, neighbour: Frame | None = None) -> Tensor:
        features = check_map(self._array(frame.name), f"{self.path}: {frame.name}", self.dim)
        self.dim = features.shape[-1]
        return features

    def _array(self, name: str) -> Tensor:
        stem = str(Path(name).with_suffix("")) if Path(name).suffix else name
        if self._arrays is not None:
            for key in (name, stem):
                if key in self._arrays:
                    return self._arrays[key]
            raise BadInput(
                f"{self.path}: no map named {name}; "
                f"it has {', '.join(sorted(self._arrays)[:3])}, ..."
            )
        for suffix in SUFFIXES:
            path = inside(self.path, f"{stem}{suffix}", self.path, "frame name")
            if path.is_file():
                arrays = _read(path)
                if len(arrays) != 1:
                    raise BadInput(f"{path}: expected one array, got {len(arrays)}")
                return next(iter(arrays.values()))
        raise BadInput(f"{self.path}: no {stem}.npz, .npy or .safetensors")


def check_map(features: Tensor, where: str, dim: int | None) -> Tensor:
    """``features`` as float32 [h, w, D], D being ``dim`` if given; :class:`BadInput` otherwise."""
    if features.ndim != 3 or 0 in features.shape or not features.is_floating_point():
        raise BadInput(
            f"{where}: expected floats [h, w, D], got {list(features.shape)} {features.dtype}"
        )
    if dim is not None and features.shape[-1] != dim:
        raise BadInput(
            f"{where}: expected {dim} channels as in the other maps, got {features.shape[-1]}"
        )
    features = features.float()
    if not bool(torch.isfinite(features).all()):
        raise BadInput(f"{where}: contains NaN or infinity")
    return features


def _read(path: Path) -> dict[str, Tensor]:
    path = existing(path)
    if path.suffix == ".safetensors":
        return read_tensors(path)[0]
    if path.suffix not in (".npz", ".npy"):
        raise BadInput(f"{path}: expected {', '.join(SUFFIXES)}")
    try:
        return {name: torch.from_numpy(array) for name, array in read_npz(path).items()}
    except TypeError as error:  # texts and objects
        raise BadInput(f"{path}: expected numeric arrays ({error})") from error
