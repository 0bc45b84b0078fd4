"""Picture files as tensors: colour, alpha, masks, maps of ids."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .files import BadInput, existing, replacing

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


def natural(path: str | Path) -> list:
    """Sort key that counts: frame2 comes before frame10."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", str(path))]


def image_files(folder: str | Path) -> list[Path]:
    """Image files directly in ``folder`` in natural order; none when it is no folder."""
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
    """Colour [H, W, 3] in 0..1 as stored (no EXIF); transparent pixels show ``background``."""
    if not has_alpha(path):
        return torch.from_numpy(_pixels(path, "RGB").astype(np.float32) / 255)
    rgba = _pixels(path, "RGBA").astype(np.float32) / 255
    alpha = rgba[..., 3:]
    return torch.from_numpy(rgba[..., :3] * alpha + np.float32(background) * (1 - alpha))


def read_colors(path: str | Path) -> Tensor:
    """Colour [H, W, 3] uint8, exactly as stored; a palette's colours, not its indices."""
    return torch.from_numpy(_pixels(path, "RGB").copy())


def read_alpha(path: str | Path) -> Tensor:
    """Opacity [H, W] float32 in 0..1."""
    return torch.from_numpy(_pixels(path, "RGBA")[..., 3].astype(np.float32) / 255)


def read_indices(path: str | Path, ignore: int | None = 255) -> Tensor:
    """Ids [H, W] int64 of a palette or grey image, ``ignore`` as -1; BadInput for colour."""
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
