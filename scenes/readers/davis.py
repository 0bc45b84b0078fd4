"""DAVIS-style sequences: frames with a mask for each, binary or a palette of object ids.

Perazzi et al., CVPR 2016; Pont-Tuset et al., 2017. Known layouts: ``images`` (or ``JPEGImages``,
``rgb``, ``frames``) beside ``masks`` (or ``Annotations``), and the data set's own
``JPEGImages/480p/NAME`` with ``Annotations/480p/NAME``.
"""

from __future__ import annotations

from pathlib import Path

from ..files import BadInput
from ..images import image_files
from ..scene import Scene
from .folder import frame_folder, scene_of, views_of
from .views import mask_layers

FORMAT = "davis"
MASKS = ("masks", "Annotations", "annotations")


def mask_folder(path: Path) -> Path | None:
    """Where the masks of the frames at ``path`` are, or None."""
    for name in MASKS:
        if image_files(path / name):
            return path / name
    parts = path.resolve().parts
    if "JPEGImages" in parts:
        place = len(parts) - 1 - parts[::-1].index("JPEGImages")
        folder = Path(*parts[:place], "Annotations", *parts[place + 1 :])
        if image_files(folder):
            return folder
    return None


def detect(path: Path) -> bool:
    return path.is_dir() and mask_folder(path) is not None and frame_folder(path) is not None


def read(path: Path, cameras: str | None = None, frame_rate: float = 24.0) -> Scene:
    """Frames with a ``mask`` of all objects; palettes give ``instance`` ids too (0: background).

    ``cameras``: a COLMAP model's folder, ``transforms.json`` or npz (see :mod:`.given`). Frames
    without a mask file are kept without one.
    """
    frames, masks = frame_folder(path), mask_folder(path)
    if frames is None or masks is None:
        raise BadInput(f"{path}: expected a folder of frames and one of masks ({', '.join(MASKS)})")
    views = views_of(frames)
    for view in views:
        view.layers = mask_layers(view.image, masks)
    if not any(view.layers for view in views):
        raise BadInput(f"{masks}: no mask has the name of a frame ({views[0].image.stem}.png)")
    return scene_of(path, views, cameras, frame_rate)
