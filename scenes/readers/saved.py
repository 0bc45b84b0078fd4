"""Scenes that ``Scene.save`` wrote."""

from __future__ import annotations

from pathlib import Path

from ..scene import Scene
from ..store import load_scene

FORMAT = "semaflow"
DEFAULTS = {"holdout": 0}  # a scene is loaded with the split that it was saved with


def detect(path: Path) -> bool:
    folder = _folder(path)
    # nerfies captures have a scene.json of their own, beside a dataset.json
    return (folder / "scene.json").is_file() and not (folder / "dataset.json").is_file()


def read(path: Path) -> Scene:
    """The scene in its folder, given by the folder or by ``scene.json`` in it."""
    return load_scene(_folder(path))


def _folder(path: Path) -> Path:
    return path.parent if path.name == "scene.json" else path
