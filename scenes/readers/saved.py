"""Scenes that ``Scene.save`` wrote."""

from __future__ import annotations

from pathlib import Path

from ..scene import Scene
from ..store import is_saved, load_scene

FORMAT = "semaflow"


def detect(path: Path) -> bool:
    return is_saved(_folder(path))


def read(path: Path) -> Scene:
    """The scene in its folder, given by the folder or by ``scene.json`` in it."""
    return load_scene(_folder(path))


def _folder(path: Path) -> Path:
    return path.parent if path.name == "scene.json" else path
