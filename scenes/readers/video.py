"""Video files: frames by their true times; cameras unknown unless given."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..scene import Scene
from ..video import SUFFIXES, read_video
from .folder import with_cameras
from .options import chosen, target_size
from .views import View, frames_of, normalized, upward

FORMAT = "video"


def detect(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES


def read(
    path: Path,
    cameras: str | None = None,
    start: int = 0,
    end: int | None = None,
    every: int = 1,
    max_frames: int = 300,
    max_width: int = 960,
    scale: float | None = None,
) -> Scene:
    """Frames named by their number in the file, at most 300 and 960 pixels wide by default.

    ``cameras``: a COLMAP model's folder, ``transforms.json`` or npz (see :mod:`.given`), for all
    frames of the file or by name ("00000" is the first).
    """
    video = read_video(path)
    stored = (video.width, video.height)
    views = [
        View(f"{index:05d}", partial(video.frame, index), time=seconds, size=stored)
        for index, seconds in enumerate(video.times)
    ]
    views, points, notes = with_cameras(views, cameras)
    views = [views[index] for index in chosen(len(views), start, end, every, max_frames)]
    size = target_size(*stored, max_width, scale)
    video.resize(*size)
    video.choose([int(view.name) for view in views])
    for view, time in zip(views, normalized([view.time for view in views]), strict=True):
        view.time, view.size = time, size
    frames = frames_of(views, path)
    if len(views) < video.count and not notes:
        notes = [f"{len(views)} of the file's {video.count} frames are taken"]
    return Scene(
        path.stem,
        frames,
        train=list(range(len(frames))),
        points=points,
        frame_rate=video.frame_rate,
        up=upward([frame.camera for frame in frames]),
        notes=notes,
        posed=cameras is not None,
    )
