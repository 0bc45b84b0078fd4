"""Masks of objects: drawn by the field, read from and written to PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..fields.gaussians.state import GaussianState
from ..scenes import BadInput, Camera
from ..scenes.files import existing, replacing


@torch.no_grad()
def object_masks(state: GaussianState, selected: Tensor, camera: Camera) -> Tensor:
    """Soft masks [H, W, M] of M sets of Gaussians: A(p) = sum T alpha m (DGD, section 3.3).

    ``selected`` [N, M] is 0 or 1 (or any weight). Everything else in the state occludes. All sets
    are composited in one pass, since compositing is linear. Binarise at 0.5.
    """
    return state.render(camera, channels=(), values=selected.to(state.means)).values.cpu()


def object_mask(state: GaussianState, selected: Tensor, camera: Camera) -> Tensor:
    """Soft mask [H, W] of the Gaussians ``selected`` [N]; see :func:`object_masks`."""
    return object_masks(state, selected[:, None], camera)[..., 0]


def inside_point(mask: Tensor) -> tuple[tuple[float, float], float]:
    """The pixel (x, y) of a boolean mask [H, W] farthest from its border, and that distance.

    What a person would click. The image border counts as border; BadInput for an empty mask.
    """
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        raise BadInput("mask: empty, it has no inside to click on")
    depth = distance_transform_edt(np.pad(mask.cpu().numpy(), 1))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return (float(column) + 0.5, float(row) + 0.5), float(depth[row, column])


def connected_parts(mask: Tensor) -> Tensor:
    """Each pixel's connected part of a boolean mask [H, W], int64 from 1; 0 outside the mask."""
    from scipy.ndimage import label

    parts, _ = label(mask.cpu().numpy())
    return torch.from_numpy(parts).long()


def parts_in(mask: Tensor, other: Tensor) -> Tensor:
    """The connected parts of ``mask`` [H, W] bool in which something of ``other`` lies; all where nothing does."""
    parts = connected_parts(mask)
    touched = parts[mask & other].unique()
    return torch.isin(parts, touched) if len(touched) else mask


def read_labels(path: str | Path, camera: Camera | None = None) -> Tensor:
    """Label image, int64 [H, W]: palette index or grey value; of colour pictures 1 where not black.

    Raises BadInput: no such file, not a picture, or not of the size of ``camera``.
    """
    from PIL import Image, UnidentifiedImageError

    path = existing(path)
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise BadInput(f"{path}: not a readable picture ({error})") from error
    if values.ndim == 3:
        values = values[..., : 3 if values.shape[2] > 2 else 1].any(-1)
    labels = torch.from_numpy(values.astype(np.int64))
    if camera is not None and labels.shape != (camera.height, camera.width):
        raise BadInput(
            f"{path}: mask is {labels.shape[1]}x{labels.shape[0]}, "
            f"expected {camera.width}x{camera.height} as the frame is"
        )
    return labels


def read_mask(path: str | Path, camera: Camera) -> Tensor:
    """Boolean mask [H, W] from a picture: everything that is not 0. BadInput when it is empty."""
    mask = read_labels(path, camera) > 0
    if not mask.any():
        raise BadInput(f"{path}: the mask is empty, expected at least one pixel that is not 0")
    return mask


def write_mask(path: str | Path, mask: Tensor) -> None:
    """Write a boolean mask [H, W] as an 8-bit PNG (0 or 255), atomically."""
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(mask.cpu().numpy().astype(np.uint8) * 255).save(temporary, format="PNG")
