"""NVIDIA Dynamic Scenes: a rig of cameras of which each in turn takes one frame of the video.

The layout is that of DynNeRF (Gao et al., ICCV 2021) for the data of Yoon et al. (CVPR 2020), with
the labels of Semantic Flow (Tian et al., ICLR 2024).
"""

from __future__ import annotations

import re
from pathlib import Path

from ..camera import Camera
from ..files import BadInput
from ..images import image_files, image_size, read_image
from ..scene import Scene
from .estimates import DISPARITY, FLOW, MOTION, add_estimates, companions
from .label_files import LabelFiles
from .poses_bounds import FILE, read_cameras
from .sized import Size, sized_picture
from .views import View, frames_of, in_order, upward

FORMAT = "nvidia"
IMAGES = ("images", "images_2")
RIG, LABELS, RIG_LABELS = "multiview_GT", "SegmentationClass_train", "multiview_GT_semantic"


def detect(path: Path) -> bool:
    own = (RIG, LABELS, RIG_LABELS, MOTION, DISPARITY, FLOW)
    return (path / FILE).is_file() and any((path / name).is_dir() for name in own)


def read(
    path: Path, images: str | None = None, seen_views: bool = False, ignore_unknown: bool = False
) -> Scene:
    """Training frames: the video; its frame i is of camera i. Test frames: the rig's other pictures.

    Args:
        images: the folder of the video's frames; ``images``, or else ``images_2``, by default.
        seen_views: test also on what camera i saw at time i, which the training frames show; the
            names of these test frames end in ``_seen``.
        ignore_unknown: all colours that the label map lacks are -1, however much they cover.

    ``poses_bounds.npy`` has a row per frame; its world is kept as it is. All else may be there or
    not, in any size of the same proportions, and is resampled to that of the video's frames:

    - ``disp``, ``motion_masks`` and ``flow``, as in :func:`.estimates.add_estimates`;
    - ``multiview_GT/TIME/camCAMERA.jpg``, times and cameras counted from 1: the test frames;
    - ``SegmentationClass_train``, pictures of all frames or, by their names, of some, and
      ``multiview_GT_semantic/TIME/camCAMERA.png``: labels in the colours of ``labelmap.txt`` (see
      :class:`.LabelColors`), which lies in ``path`` or the folder above;
    - ``foreground_object.txt``, there too: a line for each class that moves; where the labels show
      one is the layer mask.
    """
    folder = _frames(path, images)
    files = image_files(folder)
    if not files:
        raise BadInput(f"{folder}: no images")
    cameras, times = read_cameras(path / FILE, len(files)), in_order(len(files))
    size = image_size(files[0])
    views = [
        View(file.stem, file, camera, time)
        for file, camera, time in zip(files, cameras, times, strict=True)
    ]
    add_estimates(views, path, size)
    labels = LabelFiles(path, size, ignore_unknown)
    for view, file in zip(views, companions(path / LABELS, views, partly=True), strict=True):
        view.layers |= labels.layers(file)
    for time, camera, file in _rig(path / RIG, len(files)):
        if time != camera or seen_views:
            name = f"{file.stem}_{file.parent.name}{'_seen' if time == camera else ''}"
            view = _rig_view(name, file, cameras[camera], times[time], size)
            label = path / RIG_LABELS / file.parent.name / f"{file.stem}.png"
            view.layers = labels.layers(label if label.is_file() else None)
            views.append(view)
    frames = frames_of(views, path)
    for frame in frames[len(files) :]:
        frame.keep = False  # a rig has many, of which each is looked at once in a while
    return Scene(
        path.resolve().name,
        frames,
        train=list(range(len(files))),
        test=list(range(len(files), len(frames))),
        label_names=labels.names,
        up=upward(cameras),
        timed=True,
    )


def _frames(path: Path, images: str | None) -> Path:
    """The folder of the video's frames."""
    names = IMAGES if images is None else (images,)
    return next((path / name for name in names if image_files(path / name)), path / names[0])


def _rig(folder: Path, count: int) -> list[tuple[int, int, Path]]:
    """Time and camera, from 0, and file of all pictures of a rig of ``count`` cameras and times."""
    found = []
    times = sorted(entry for entry in folder.glob("[!.]*") if entry.is_dir())
    for file in (file for entry in times for file in image_files(entry)):
        camera = re.fullmatch(r"cam(\d+)", file.stem)
        numbers = {"time": file.parent.name, "camera": camera[1] if camera else file.stem}
        for what, digits in numbers.items():
            if not digits.isdecimal() or not 1 <= int(digits) <= count:
                raise BadInput(f"{file}: {what}: expected 1 to {count}, got {digits}")
        found.append((int(numbers["time"]) - 1, int(numbers["camera"]) - 1, file))
    return found


def _rig_view(name: str, file: Path, camera: Camera, time: float, size: Size) -> View:
    if image_size(file) == size:
        return View(name, file, camera, time)
    return View(name, sized_picture(file, "image", read_image, size), camera, time, size=size)
