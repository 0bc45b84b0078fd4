"""Readers of the public formats, one file each.

A reader is a module with three things, entered in ``READERS``:

    FORMAT = "name"                      what ``--format`` calls it
    def detect(path) -> bool             a cheap look: is this path mine?
    DEFAULTS = {"holdout": 0}            other defaults for the shared options, where needed
    def read(path, ...) -> Scene         frames at their stored size; keyword arguments are the
    format's options

``load`` applies to every format what :mod:`.options` offers: start, end, every, max_frames,
holdout, static, max_width, scale. A reader that takes one of these itself (the video reader, which
decodes less for it) keeps it.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

from ..files import BadInput
from ..scene import Scene
from . import (
    colmap,
    davis,
    dnerf,
    folder,
    llff,
    nerfies,
    nrnerf,
    nvidia,
    panoptic,
    replica,
    saved,
    scannet,
    transforms,
    video,
)
from .options import resized, trimmed
from .values import checked

# The first that recognises a path reads it: formats with a file of their own before plain folders.
READERS = {
    reader.FORMAT: reader
    for reader in (
        saved,
        dnerf,
        transforms,
        nerfies,
        nrnerf,
        panoptic,
        scannet,
        replica,
        nvidia,
        llff,
        colmap,
        davis,
        folder,
        video,
    )
}


def _names(function) -> set[str]:
    return set(list(inspect.signature(function).parameters)[1:])


def detect(path: str | Path) -> str:
    """The name of the format of ``path``; BadInput when there is nothing or nothing known there."""
    path = Path(path)
    if not path.exists():
        raise BadInput(f"{path}: no such file or folder")
    for name, reader in READERS.items():
        if reader.detect(path):
            return name
    raise BadInput(f"{path}: format not recognised; expected one of {', '.join(READERS)}")


def load(path: str | Path, format: str | None = None, **options) -> Scene:
    """Read the scene at ``path``.

    Args:
        path: a file or folder.
        format: one of ``READERS``; detected unless given.
        options: of :func:`.options.trimmed` and :func:`.options.resized`, and those of the format's
            own ``read``. None stands for the default.

    Raises BadInput: nothing there, no known format, an unknown option or a bad value of one, unusable content.
    """
    path = Path(path)
    if format is not None and format not in READERS:
        raise BadInput(f"{path}: format: expected one of {', '.join(READERS)}, got {format!r}")
    if not path.exists():
        raise BadInput(f"{path}: no such file or folder")
    reader = READERS[format or detect(path)]
    options = {name: value for name, value in options.items() if value is not None}
    options = {**getattr(reader, "DEFAULTS", {}), **options}

    own = _names(reader.read)
    steps = {step: _names(step) - own for step in (trimmed, resized)}
    known = own.union(*steps.values())
    if unknown := sorted(set(options) - known):
        raise BadInput(
            f"{path}: no option {unknown[0]!r} for format {reader.FORMAT}; "
            f"there are {', '.join(sorted(known))}"
        )

    def given(function, names: set[str]) -> dict:
        return checked(function, {name: options[name] for name in sorted(names & set(options))})

    scene = reader.read(path, **given(reader.read, own))
    for step, names in steps.items():
        scene = step(scene, **given(step, names))
    return replace(scene, source=path, format=reader.FORMAT)
