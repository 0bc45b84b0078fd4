"""Pictures on disk as tensors: colour, alpha, masks, label maps; and any layer of a frame on
another pixel grid."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .files import BadInput, existing, replacing

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
INDICES = ("label", "instance", "part")  # layers of ids: never averaged


def natural(path: str | Path) -> list:
    """Sort key that counts: frame2 comes before frame10."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", str(path))]


def image_files(folder: str | Path) -> list[Path]:
    """Image files directly in ``folder`` (none when it is no folder), in natural order of their
    names."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    found = [
        file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.name[0] != "."
    ]
    return sorted(found, key=lambda file: natural(file.name))


def _open(path: str | Path):
    from PIL import Image

    path = existing(path)
    try:
        return Image.open(path)
    except Exception as error:  # each of Pillow's plugins raises its own kinds
        raise BadInput(f"{path}: not a readable image") from error


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height from the file's header; BadInput when it is no image."""
    with _open(path) as image:
        return image.size


def has_alpha(path: str | Path) -> bool:
    """Whether the file's header promises transparency."""
    with _open(path) as image:
        return "A" in image.getbands() or "transparency" in image.info


def is_palette(path: str | Path) -> bool:
    """Whether the file's header says that pixels are indices into a palette."""
    with _open(path) as image:
        return image.mode == "P"


def _pixels(path: str | Path, mode: str | None) -> np.ndarray:
    """Decoded pixels: as stored when ``mode`` is None, else converted to that mode of Pillow's."""
    with _open(path) as image:
        try:
            if mode is not None and image.mode.startswith(
                "I"
            ):  # 16-bit grey, which Pillow would clip at 255
                image = image.point(lambda value: value * (1 / 257)).convert("L")
            return np.asarray(image if mode is None else image.convert(mode))
        except Exception as error:  # as above, now from the decoder
            raise BadInput(f"{path}: damaged image ({error})") from error


def read_image(
    path: str | Path, background: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Tensor:
    """Colour [H, W, 3] float32 in 0..1, as stored; transparent pixels show ``background``. EXIF is
    not applied."""
    if not has_alpha(path):
        return torch.from_numpy(_pixels(path, "RGB").astype(np.float32) / 255)
    rgba = _pixels(path, "RGBA").astype(np.float32) / 255
    alpha = rgba[..., 3:]
    return torch.from_numpy(rgba[..., :3] * alpha + np.float32(background) * (1 - alpha))


def read_alpha(path: str | Path) -> Tensor:
    """Opacity [H, W] float32 in 0..1."""
    return torch.from_numpy(_pixels(path, "RGBA")[..., 3].astype(np.float32) / 255)


def read_indices(path: str | Path, ignore: int | None = 255) -> Tensor:
    """Ids [H, W] int64 of a palette or grey image; ``ignore`` becomes -1. BadInput for a colour
    image."""
    ids = _pixels(path, None)
    if ids.ndim != 2:
        raise BadInput(
            f"{path}: expected a palette or grey image of ids, got {ids.shape[2]} channels"
        )
    ids = torch.from_numpy(ids.astype(np.int64))
    return ids if ignore is None else torch.where(ids == ignore, -1, ids)


def read_mask(path: str | Path) -> Tensor:
    """Mask [H, W] bool.

    Palette images: ids other than 0 and the void id 255. Other images: brighter than half; a grey
    image without bright pixels holds ids, of which all but 0 count.
    """
    if is_palette(path):
        return read_indices(path) > 0
    grey = _pixels(path, "L")
    return torch.from_numpy(grey > (127 if grey.max() > 127 else 0))


def write_image(path: str | Path, pixels: np.ndarray) -> None:
    """Write uint8 [H, W], [H, W, 3] or uint16 [H, W] as PNG, atomically."""
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels)).save(
            temporary, format="PNG", compress_level=4
        )


def resample(layer: str, value: Tensor, width: int, height: int) -> Tensor:
    """``value`` of a frame's ``layer`` on a grid of ``width`` x ``height`` that covers the same
    image.

    Colour, alpha and flow are averaged over areas (flow vectors scale along), masks by majority;
    ids and depth are taken at pixel centres; feature maps stay as they are, since their cells
    always cover the whole image.
    """
    if layer == "features" or value.shape[:2] == (height, width):
        return value
    if layer in INDICES or layer == "depth":
        rows = ((torch.arange(height) + 0.5) * value.shape[0] / height).long()
        columns = ((torch.arange(width) + 0.5) * value.shape[1] / width).long()
        return value[rows][:, columns]
    import cv2

    shrinks = width <= value.shape[1] and height <= value.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = torch.from_numpy(
        cv2.resize(value.float().numpy(), (width, height), interpolation=how)
    )
    if layer == "mask":
        return resized > 0.5
    if layer.startswith("flow"):
        resized *= torch.tensor([width / value.shape[1], height / value.shape[0]])
    return resized
