"""D-NeRF's synthetic scenes: ``transforms_{train,val,test}.json`` with ``time``, RGBA images.

Pumarola et al., D-NeRF, CVPR 2021. Axes are OpenGL's.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..files import BadInput
from ..images import has_alpha, read_alpha
from ..scene import Scene
from .transforms import read_ply, read_views
from .views import View, background_color, frames_of

FORMAT = "dnerf"


def detect(path: Path) -> bool:
    return (path / "transforms_train.json").is_file()


def read(path: Path, background: str = "black", split: str = "test") -> Scene:
    """Training frames ordered by time, test frames from their own file.

    Args:
        background: ``black`` or ``white``, shown where images are transparent.
        split: which file holds the test frames, ``test`` or ``val``; the other one stands in where
            it is missing.

    Layers: image, alpha, and mask (alpha above one half). Initial points from ``points3d.ply``
    where there is one.
    """
    if split not in ("test", "val"):
        raise BadInput(f"{path}: split: expected test or val, got {split!r}")
    color = background_color(background)
    training = sorted(_views(path, "train"), key=lambda view: view.time)
    other = "val" if split == "test" else "test"
    split = split if (path / f"transforms_{split}.json").is_file() else other
    testing = _views(path, split) if (path / f"transforms_{split}.json").is_file() else []
    ply = path / "points3d.ply"
    return Scene(
        path.resolve().name,
        frames_of(training + testing, path, color),
        train=list(range(len(training))),
        test=list(range(len(training), len(training) + len(testing))),
        points=read_ply(ply) if ply.is_file() else None,
        background=color,
        timed=True,
    )


def _views(path: Path, split: str) -> list[View]:
    views = read_views(path / f"transforms_{split}.json", prefix=f"{split}_")
    for view in views:
        if has_alpha(view.image):
            view.layers["mask"] = partial(_solid, view.image)
    return views


def _solid(image: Path):
    return read_alpha(image) > 0.5
