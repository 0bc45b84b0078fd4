"""A frame's layers: as files, and on other pixel grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .files import BadInput, read_npz, replacing
from .images import read_image, read_indices, write_image

INDICES = ("label", "instance", "part")  # ids: never averaged
MASKS = ("mask", "motion", "flow_forward_valid", "flow_backward_valid")  # true or false
FLOWS = ("flow_forward", "flow_backward")
SAMPLED = (*INDICES, "depth", "disparity")  # what blending over an edge would make meaningless
PICTURES = ("image", "alpha", *MASKS, *INDICES)  # kept as PNG, the others as npz


def resample(layer: str, value: Tensor, width: int, height: int) -> Tensor:
    """``value`` of a frame's ``layer`` on another grid that covers the same image.

    Colour, alpha and flow are averaged over areas (flow vectors scale along), masks by majority;
    ids, depth and disparity are taken at pixel centres; feature maps stay as they are, since their
    cells always cover the whole image.
    """
    if layer == "features" or value.shape[:2] == (height, width):
        return value
    if layer in SAMPLED:
        rows = ((torch.arange(height) + 0.5) * value.shape[0] / height).long()
        columns = ((torch.arange(width) + 0.5) * value.shape[1] / width).long()
        return value[rows][:, columns]
    import cv2

    shrinks = width <= value.shape[1] and height <= value.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = torch.from_numpy(
        cv2.resize(value.float().numpy(), (width, height), interpolation=how)
    )
    if layer in MASKS:
        return resized > 0.5
    if layer in FLOWS:
        resized *= torch.tensor([width / value.shape[1], height / value.shape[0]])
    return resized


def suffix(layer: str) -> str:
    """Of the file that holds ``layer``."""
    return ".png" if layer in PICTURES else ".npz"


def write_layer(path: Path, layer: str, value: Tensor) -> None:
    """Write one layer, atomically: pictures in 8 bits, ids in 16, features in half precision.

    Raises BadInput: ids that 16 bits do not hold, or a file that cannot be written.
    """
    array = value.detach().cpu().numpy()
    if layer in INDICES:
        if array.min() < -1 or array.max() > 65534:
            raise BadInput(
                f"{layer} of frame {path.stem}: expected ids in -1..65534, "
                f"got {array.min()}..{array.max()}"
            )
        write_image(path, (array + 1).astype(np.uint16))
    elif layer in PICTURES:
        write_image(path, (array.astype(np.float32).clip(0, 1) * 255 + 0.5).astype(np.uint8))
    else:
        write_npz(path, {layer: torch.from_numpy(array).half() if layer == "features" else value})


def read_layer(path: Path, layer: str) -> Tensor:
    """What :func:`write_layer` wrote; BadInput when the file is missing or damaged."""
    if layer in INDICES:
        return read_indices(path, ignore=None) - 1
    if layer == "image":
        return read_image(path)
    if layer in PICTURES:
        levels = read_indices(path, ignore=None)
        return levels > 127 if layer in MASKS else levels.float() / 255
    arrays = read_npz(path)
    if layer not in arrays:
        raise BadInput(f"{path}: expected an array {layer}, got {', '.join(arrays) or 'none'}")
    return torch.from_numpy(arrays[layer].astype(np.float32))


def write_npz(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write named tensors as one npz file, atomically."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file, **{name: np.asarray(tensor.detach().cpu()) for name, tensor in tensors.items()}
        )
