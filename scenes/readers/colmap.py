"""COLMAP models with the images in a folder beside."""

from __future__ import annotations

from pathlib import Path

from ..files import BadInput, existing, inside
from ..images import image_files, natural
from ..scene import Scene
from .colmap_files import read_points, read_views
from .views import frames_of, mask_layers, normalized, upward

FORMAT = "colmap"
PLACES = (".", "sparse/0", "sparse", "colmap/sparse/0")


def model_folder(path: Path) -> Path | None:
    """Where under ``path`` a model lies, or None."""
    for place in PLACES:
        for suffix in (".bin", ".txt"):
            if all((path / place / f"{name}{suffix}").is_file() for name in ("cameras", "images")):
                return path / place
    return None


def detect(path: Path) -> bool:
    return model_folder(path) is not None


def read(path: Path, images: str | None = None) -> Scene:
    """The registered frames of a COLMAP model.

    Args:
        path: the folder of the model, or one with ``sparse/0`` in it.
        images: the folder of the images, relative to ``path``; ``images`` beside the model by
            default.

    Masks are taken from a folder ``masks`` beside the images (``NAME.png`` for ``NAME.jpg``).
    """
    model = model_folder(path)
    if model is None:
        raise BadInput(
            f"{path}: no COLMAP model: expected cameras and images (.txt or .bin), "
            "here or in sparse/0"
        )
    folder = _image_folder(path, model, images)
    views = read_views(model)
    every = [file.relative_to(folder) for file in sorted(folder.rglob("*")) if file.is_file()]
    order = {file.as_posix(): place for place, file in enumerate(sorted(every, key=natural))}
    for view in views:
        view.image = inside(folder, view.name, model / "images", "NAME")
        existing(view.image)
    # Frames that did not register leave gaps in time.
    times = normalized([float(order.get(view.name, place)) for place, view in enumerate(views)])
    for view, time in zip(views, times, strict=True):
        view.time = time
        view.layers = mask_layers(view.image, folder.parent / "masks")
        view.name = Path(view.name).with_suffix("").as_posix().replace("/", "_")
    frames = frames_of(views, path)
    missing = len(image_files(folder)) - len(frames)
    return Scene(
        folder.resolve().parent.name,
        frames,
        train=list(range(len(frames))),
        points=read_points(model),
        up=upward([frame.camera for frame in frames]),
        notes=[f"{missing} of the images have no camera in the model and are left out"]
        if missing > 0
        else [],
    )


def _image_folder(path: Path, model: Path, images: str | None) -> Path:
    if images is not None:
        return existing(path / images, folder=True)
    for folder in (path, model, *model.resolve().parents[:2]):
        for name in ("images", "rgb", "input"):
            if (folder / name).is_dir():
                return folder / name
    raise BadInput(
        f"{path}: no folder 'images' beside the COLMAP model; name it with the option images"
    )
