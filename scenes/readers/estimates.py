"""What was estimated from a video beforehand and lies beside it, in the layout of DynNeRF."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..files import BadInput, read_npz
from ..images import image_files, natural, read_mask
from .sized import Size, proportional, sized, sized_picture
from .views import View

MOTION, DISPARITY, FLOW = "motion_masks", "disp", "flow"
FLOWS = {"fwd": "flow_forward", "bwd": "flow_backward"}


def add_estimates(views: list[View], path: Path, size: Size) -> None:
    """Give a video's ``views`` what the folder ``path`` has for them, resampled to ``size``.

    Layers: disparity of ``disp/*.npy`` [h, w], of any size; motion of ``motion_masks``; flow and
    its validity of ``flow/000_fwd.npz``... (all frames but the last) and ``flow/001_bwd.npz``...
    (all but the first), with arrays ``flow`` [h, w, 2] in pixels and ``mask`` [h, w].

    Raises BadInput: files for some of the frames only, or what is in them is none of this.
    """
    for view, file in zip(views, companions(path / DISPARITY, views, ".npy"), strict=True):
        if file is not None:
            view.layers["disparity"] = sized("disparity", partial(_disparity, file), size)
    for view, file in zip(views, companions(path / MOTION, views), strict=True):
        if file is not None:
            view.layers["motion"] = sized_picture(file, "motion", read_mask, size)
    if any((path / FLOW).glob("*_[fb]wd.npz")):
        for index, view in enumerate(views):
            for key, layer in FLOWS.items():
                if index != (len(views) - 1 if key == "fwd" else 0):
                    _add_flow(view, layer, path / FLOW / f"{index:03d}_{key}.npz", size)


def companions(
    folder: Path, views: list[View], suffix: str | None = None, partly: bool = False
) -> list[Path | None]:
    """The file in ``folder`` for each of the ``views``, in natural order; all None without files.

    Pictures, unless another ``suffix`` is given. ``partly``: there may be files for some of the
    views only, which then go by their names.
    """
    found = image_files(folder)
    if suffix is not None:
        found = sorted(folder.glob(f"*{suffix}"), key=lambda file: natural(file.name))
    if len(found) == len(views):
        return found
    named = {file.stem: file for file in found}
    missing = [view.name for view in views if view.name not in named]
    known = len(views) - len(missing)
    if not found or not missing or (partly and known == len(found)):
        return [named.get(view.name) for view in views]
    one = f"; none is called {missing[0]}" if known else ""
    raise BadInput(f"{folder}: expected {len(views)} files, one per image, got {len(found)}{one}")


def _add_flow(view: View, layer: str, file: Path, size: Size) -> None:
    if not file.is_file():
        raise BadInput(f"{file}: missing, while other flow is there")
    valid = f"{layer}_valid"
    view.layers[layer] = sized(layer, partial(_flow, file, size), size)
    view.layers[valid] = sized(valid, partial(_valid, file, size), size)


def _flow(file: Path, size: Size) -> Tensor:
    return torch.from_numpy(_arrays(file, size)[0].astype(np.float32))


def _valid(file: Path, size: Size) -> Tensor:
    return torch.from_numpy(_arrays(file, size)[1] > 0.5)


def _arrays(file: Path, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Flow and mask of a file."""
    arrays = read_npz(file)
    flow, mask = arrays.get("flow"), arrays.get("mask")
    if not _finite(flow, 3) or flow.shape[2] != 2:
        raise BadInput(f"{file}: flow: expected finite numbers of shape [h, w, 2]")
    if not _finite(mask, 2) or mask.shape != flow.shape[:2]:
        shape = list(flow.shape[:2])
        raise BadInput(f"{file}: mask: expected finite numbers of flow's shape {shape}")
    proportional(flow.shape[1::-1], file, "flow", size)
    return flow, mask


def _disparity(file: Path) -> Tensor:
    array = read_npz(file).get("array")
    if not _finite(array, 2):
        raise BadInput(f"{file}: expected finite numbers of shape [h, w]")
    return torch.from_numpy(array.astype(np.float32))


def _finite(array: np.ndarray | None, dimensions: int) -> bool:
    fits = array is not None and array.ndim == dimensions and array.dtype.kind in "fiub"
    return fits and bool(array.size) and bool(np.isfinite(array).all())
