"""What all readers share: from picture files with cameras to frames that load lazily."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..camera import Camera
from ..files import BadInput
from ..images import (
    has_alpha,
    image_size,
    is_palette,
    read_alpha,
    read_image,
    read_indices,
    read_mask,
)
from ..scene import Frame
from .lens import Lens

BACKGROUNDS = {"black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0)}
UNKNOWN_FOV = 60.0  # degrees across, until cameras are estimated
FILES = {"mask": read_mask, "label": read_indices, "instance": read_indices, "part": read_indices}


@dataclass
class View:
    """One picture file of a scene.

    Attributes:
        name: of the frame to be.
        image: the picture's file, or a function that gives it, [H, W, 3], together with its
            ``size``.
        camera: for the picture as its data set declares it, or None where unknown.
        time: normalised, 0..1.
        lens: distortion, or None.
        layers: what else is known, by layer: a file, or a function that gives the tensor, as large
            as the picture.
    """

    name: str
    image: Path | Callable[[], Tensor]
    camera: Camera | None = None
    time: float = 0.0
    lens: Lens | None = None
    layers: dict[str, Path | Callable[[], Tensor]] = field(default_factory=dict)
    size: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        """What errors call the picture."""
        return self.image.name if isinstance(self.image, Path) else f"frame {self.name}"


def frames_of(
    views: list[View],
    source: str | Path,
    background: tuple[float, float, float] = BACKGROUNDS["black"],
) -> list[Frame]:
    """Lazy frames of ``views``, straightened, their cameras fitted to the stored picture size.

    Raises BadInput: a picture that is missing, no image or of another size than the others; two of
    one name; an image whose proportions are not its camera's.
    """
    if not views:
        raise BadInput(f"{source}: no images")
    expected: dict[tuple | None, tuple[View, tuple[int, int]]] = {}
    seen: set[str] = set()
    frames = []
    for view in views:
        if view.name in seen:
            raise BadInput(f"{source}: two frames are called {view.name!r}")
        seen.add(view.name)
        size = view.size or image_size(view.image)
        declared = None if view.camera is None else (view.camera.width, view.camera.height)
        first, usual = expected.setdefault(declared, (view, size))
        if size != usual:
            raise BadInput(
                f"{view.image}: image is {size[0]}x{size[1]}, "
                f"expected {usual[0]}x{usual[1]} as {first.label}"
            )
        frames.append(_frame(view, size, background))
    return frames


def _frame(view: View, size: tuple[int, int], background: tuple[float, float, float]) -> Frame:
    stored = fitted(view.camera, size, view.label) if view.camera else placeholder(*size)
    layers = {"image": view.image}
    if isinstance(view.image, Path):
        layers["image"] = partial(read_image, view.image, background)
        if has_alpha(view.image):
            layers["alpha"] = partial(read_alpha, view.image)
    for layer, origin in view.layers.items():
        if isinstance(origin, Path):
            if (other := image_size(origin)) != size:
                raise BadInput(
                    f"{origin}: {layer} is {other[0]}x{other[1]}, "
                    f"expected {size[0]}x{size[1]} as {view.label}"
                )
            origin = partial(FILES[layer], origin)
        layers[layer] = origin
    if view.lens is None:
        return Frame(view.name, stored, view.time, **layers)
    straight = {
        layer: partial(_straight, view.lens, layer, load, stored) for layer, load in layers.items()
    }
    return Frame(view.name, view.lens.straightened(stored), view.time, **straight)


def _straight(lens: Lens, layer: str, load: Callable[[], Tensor], camera: Camera) -> Tensor:
    return lens.straighten(layer, load(), camera)


def fitted(camera: Camera, size: tuple[int, int], source: str | Path) -> Camera:
    """``camera`` for pictures stored at another ``size`` of the same proportions."""
    if (camera.width, camera.height) == size:
        return camera
    if not same_proportions(size, (camera.width, camera.height)):
        raise BadInput(
            f"{source}: image is {size[0]}x{size[1]}, expected {camera.width}x{camera.height} "
            "(or those proportions) as its camera says"
        )
    return camera.resized(*size)


def same_proportions(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether pictures of these widths and heights can show the same view."""
    across, down = size[0] / other[0], size[1] / other[1]
    # a whole pixel of rounding in the smaller picture is no change of proportions
    return abs(across - down) <= 1.01 / min(other)


def placeholder(width: int, height: int) -> Camera:
    """The camera of frames whose cameras are unknown: at the origin, looking along z."""
    focal = 0.5 * width / math.tan(math.radians(UNKNOWN_FOV) / 2)
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return Camera(K, torch.eye(4), width, height)


def numbers(value, shape: tuple[int, ...], source: str | Path, name: str) -> np.ndarray:
    """``value`` as float64 of ``shape``; BadInput names ``source`` and the field ``name``."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{source}: {name}: expected numbers of shape {list(shape)}") from error
    if array.shape != shape:
        raise BadInput(f"{source}: {name}: expected shape {list(shape)}, got {list(array.shape)}")
    return array


def pixel_count(value, source: str | Path, name: str) -> int:
    """``value`` as a width or height; BadInput names ``source`` and the field ``name``."""
    count = numbers(value, (), source, name)
    if not np.isfinite(count) or count < 1:
        raise BadInput(f"{source}: {name}: expected a number of pixels, got {count:g}")
    return round(float(count))


def intrinsics(fx: float, fy: float, cx: float, cy: float, skew: float = 0.0) -> np.ndarray:
    """K [3, 3] in pixels."""
    return np.array([[fx, skew, cx], [0, fy, cy], [0, 0, 1.0]])


def from_pose(c2w: np.ndarray, axes: str, K, size: tuple[int, int], source: str) -> Camera:
    """A checked camera from camera-to-world [4, 4] with axes ``opencv`` or ``opengl``."""
    c2w = np.array(c2w, dtype=np.float64)
    if axes == "opengl":
        c2w[:3, 1:3] *= -1
    viewmat = np.eye(4)
    viewmat[:3, :3] = c2w[:3, :3].T
    viewmat[:3, 3] = -c2w[:3, :3].T @ c2w[:3, 3]
    viewmat[3] = c2w[3]
    return Camera.checked(K, viewmat, *size, source)


def upward(cameras: list[Camera]) -> tuple[float, float, float]:
    """The world direction that is up in most pictures: people hold cameras level."""
    mean = -torch.stack([camera.viewmat[1, :3] for camera in cameras]).mean(0)
    return (
        tuple(torch.nn.functional.normalize(mean, dim=0).tolist())
        if mean.norm() > 1e-3
        else (0.0, 0.0, 1.0)
    )


def background_color(name: str) -> tuple[float, float, float]:
    """Colour behind transparent pixels: ``black`` or ``white``."""
    if name not in BACKGROUNDS:
        raise BadInput(f"background: expected black or white, got {name!r}")
    return BACKGROUNDS[name]


def in_order(count: int) -> list[float]:
    """Times 0..1 of that many frames at a steady rate."""
    return [index / max(1, count - 1) for index in range(count)]


def normalized(times: list[float]) -> list[float]:
    """Times mapped to 0..1."""
    first, length = min(times), max(times) - min(times)
    return [(time - first) / length if length > 0 else 0.0 for time in times]


def beside(image: Path, folder: Path, suffix: str = ".png") -> Path | None:
    """The file in ``folder`` that goes by the name of ``image``, or None."""
    file = folder / f"{image.stem}{suffix}"
    return file if file.is_file() else None


def mask_layers(image: Path, folder: Path) -> dict[str, Path]:
    """Layers in the mask file for ``image``: ``mask``, and ``instance`` where it is a palette."""
    mask = beside(image, folder)
    if mask is None:
        return {}
    return {"mask": mask, "instance": mask} if is_palette(mask) else {"mask": mask}
