"""A plain folder of frames, in natural order of the file names; cameras unknown unless given."""

from __future__ import annotations

from math import inf
from pathlib import Path

from ..files import BadInput
from ..images import image_files, image_size
from ..scene import PointCloud, Scene
from .given import cameras_for
from .views import View, frames_of, in_order, upward

FORMAT = "frames"
PLACES = (".", "images", "rgb", "frames", "JPEGImages", "input")


def frame_folder(path: Path) -> Path | None:
    """The folder at or in ``path`` that holds images, or None."""
    return next((path / place for place in PLACES if image_files(path / place)), None)


def detect(path: Path) -> bool:
    return frame_folder(path) is not None


def read(path: Path, cameras: str | None = None, frame_rate: float = 24.0) -> Scene:
    """All images of the folder at a steady ``frame_rate``.

    ``cameras``: a COLMAP model's folder, ``transforms.json`` or npz (see :mod:`.given`).
    """
    folder = frame_folder(path)
    if folder is None:
        raise BadInput(f"{path}: no images in this folder")
    return scene_of(path, views_of(folder), cameras, frame_rate)


def views_of(folder: Path) -> list[View]:
    """One view for each image of ``folder``."""
    files = image_files(folder)
    return [
        View(file.stem, file, time=time)
        for file, time in zip(files, in_order(len(files)), strict=True)
    ]


def scene_of(path: Path, views: list[View], cameras: str | None, frame_rate: float) -> Scene:
    """A scene of a video's ``views``, posed by the user's ``cameras`` where given."""
    if isinstance(frame_rate, bool) or not isinstance(frame_rate, (int, float)) or not 0 < frame_rate < inf:
        raise BadInput(f"frame_rate: expected a positive number, got {frame_rate!r}")
    views, points, notes = with_cameras(views, cameras)
    frames = frames_of(views, path)
    return Scene(
        path.resolve().stem if path.is_file() else path.resolve().name,
        frames,
        train=list(range(len(frames))),
        points=points,
        frame_rate=frame_rate,
        up=upward([frame.camera for frame in frames]),
        notes=notes,
        posed=cameras is not None,
    )


def with_cameras(
    views: list[View], cameras: str | None
) -> tuple[list[View], PointCloud | None, list[str]]:
    """The ``views`` that the user's ``cameras`` pose, the points with them, and what to tell."""
    if cameras is None or not views:
        return views, None, []
    size = views[0].size or image_size(views[0].image)
    found, points = cameras_for([view.name for view in views], size, cameras)
    for view, pair in zip(views, found, strict=True):
        if pair is not None:
            view.camera, view.lens = pair
    kept = [view for view in views if view.camera is not None]
    missing = len(views) - len(kept)
    return (
        kept,
        points,
        [f"{missing} frames have no camera in {cameras} and are left out"] if missing else [],
    )
