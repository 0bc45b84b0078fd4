"""LLFF captures: ``poses_bounds.npy``; also cuts of NVIDIA Dynamic Scenes that build on it.

Mildenhall et al., LLFF, SIGGRAPH 2019; Yoon et al., CVPR 2020.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..files import BadInput, read_npz
from ..images import image_files, image_size, read_indices
from ..scene import Scene
from .folder import frame_folder
from .poses_bounds import read_cameras
from .views import View, beside, frames_of, in_order, mask_layers, upward

FORMAT = "llff"


def detect(path: Path) -> bool:
    return (path / "poses_bounds.npy").is_file()


def read(path: Path, images: str | None = None, label_names: list[str] | None = None) -> Scene:
    """Frames in order of their file names, at the size they are stored in.

    Args:
        images: the folder of the images; ``images`` by default (``images_4`` for a smaller copy).
        label_names: class names by id for the ``label`` layer.

    Beside the images may lie ``masks/NAME.png`` (layer mask) and ``labels/NAME.png`` (ids, 255
    unlabelled: layers label, and mask where the id is not 0), ``flow.npz`` (``fwd``, ``bwd`` [T-1,
    H, W, 2]: flow layers, valid where one undoes the other), ``disp.npz`` (``disp`` [T, H, W]:
    layer disparity) and ``gt_view0``, with ``gt_view0_masks`` and ``gt_view0_labels``: what the
    first camera saw at each time. From it come the test frames (the first picture is the first
    training frame and left out).
    """
    folder = path / images if images else frame_folder(path)
    files = image_files(folder) if folder else []
    source = path / "poses_bounds.npy"
    cameras = read_cameras(source, len(files))
    times = in_order(len(files))
    views = [
        View(file.stem, file, camera, time, layers=_layers(file, path / "masks", path / "labels"))
        for file, camera, time in zip(files, cameras, times, strict=True)
    ]
    if files:
        size = image_size(files[0])
        _add_flow(views, path / "flow.npz", size)
        _add_disparity(views, path / "disp.npz", size)
    second = image_files(path / "gt_view0")
    if second and len(second) != len(files):
        raise BadInput(
            f"{path / 'gt_view0'}: expected {len(files)} images, one per time, got {len(second)}"
        )
    views += [
        View(
            f"view0_{file.stem}",
            file,
            cameras[0],
            time,
            layers=_layers(file, path / "gt_view0_masks", path / "gt_view0_labels"),
        )
        for file, time in list(zip(second, times, strict=False))[1:]
    ]
    frames = frames_of(views, path)
    return Scene(
        path.resolve().name,
        frames,
        train=list(range(len(files))),
        test=list(range(len(files), len(frames))),
        label_names=list(label_names or []),
        up=upward(cameras),
    )


def _layers(image: Path, masks: Path, labels: Path) -> dict:
    label = beside(image, labels)
    layers = {"label": label, "mask": partial(_labelled, label)} if label else {}
    return {**layers, **mask_layers(image, masks)}


def _labelled(path: Path) -> Tensor:
    """Anything but background: what carries no label is an object's edge or part of it."""
    return read_indices(path) != 0


def _add_flow(views: list[View], source: Path, size: tuple[int, int]) -> None:
    if not source.is_file():
        return
    arrays = read_npz(source)
    expected = [len(views) - 1, size[1], size[0], 2]
    for key, layer, first in (("fwd", "flow_forward", 0), ("bwd", "flow_backward", 1)):
        for index, flow in enumerate(_series(arrays, key, expected, source)):
            views[index + first].layers[layer] = partial(_float, flow)
    for index, (forward, backward) in enumerate(zip(arrays["fwd"], arrays["bwd"], strict=True)):
        views[index].layers["flow_forward_valid"] = partial(_undone, forward, backward)
        views[index + 1].layers["flow_backward_valid"] = partial(_undone, backward, forward)


def _add_disparity(views: list[View], source: Path, size: tuple[int, int]) -> None:
    if not source.is_file():
        return
    disparity = _series(read_npz(source), "disp", [len(views), size[1], size[0]], source)
    for view, one in zip(views, disparity, strict=True):
        view.layers["disparity"] = partial(_float, one)


def _series(arrays: dict[str, np.ndarray], key: str, shape: list[int], source: Path) -> np.ndarray:
    found = arrays.get(key)
    if found is None or list(found.shape) != shape:
        got = "none" if found is None else list(found.shape)
        raise BadInput(f"{source}: {key}: expected shape {shape}, got {got}")
    return found


def _undone(forward: np.ndarray, backward: np.ndarray) -> Tensor:
    from ..motion.flow import consistency

    return consistency(_float(forward), _float(backward))


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))
