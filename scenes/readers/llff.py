"""LLFF captures: ``poses_bounds.npy``; also cuts of NVIDIA Dynamic Scenes that build on it.

A row holds camera-to-world [3, 5] (columns down, right, back, position, and height, width, focal of
the original image), then near and far. Mildenhall et al., LLFF, SIGGRAPH 2019; Yoon et al., CVPR
2020.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..camera import Camera
from ..files import BadInput, read_npz
from ..images import image_files, read_indices
from ..scene import Scene
from .folder import frame_folder
from .views import View, beside, frames_of, from_pose, in_order, intrinsics, mask_layers, upward

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
    H, W, 2]: flow layers) and ``gt_view0``, with ``gt_view0_masks`` and ``gt_view0_labels``: what
    the first camera saw at each time. From it come the test frames (the first picture is the first
    training frame and left out). Monocular disparity is not read: without a scale it is no depth.
    """
    folder = path / images if images else frame_folder(path)
    files = image_files(folder) if folder else []
    source = path / "poses_bounds.npy"
    cameras = _cameras(source)
    if len(files) != len(cameras):
        raise BadInput(
            f"{source}: expected one row for each of {len(files)} images, got {len(cameras)}"
        )
    times = in_order(len(files))
    views = [
        View(file.stem, file, camera, time, layers=_layers(file, path / "masks", path / "labels"))
        for file, camera, time in zip(files, cameras, times, strict=True)
    ]
    _add_flow(views, path / "flow.npz")
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


def _cameras(source: Path) -> list[Camera]:
    rows = read_npz(source).get("array")
    if rows is None or rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind != "f":
        raise BadInput(f"{source}: expected an array [frames, 17] of numbers")
    cameras = []
    for index, row in enumerate(rows.astype(np.float64)):
        matrix = row[:15].reshape(3, 5)
        name = f"{source}: row {index}"
        if not np.isfinite(matrix).all():
            raise BadInput(f"{name}: camera matrix holds NaN or infinity")
        height, width, focal = matrix[:, 4]
        pose = np.eye(4)
        down, right, back = matrix[:, :3].T
        pose[:3] = np.stack([right, down, -back, matrix[:, 3]], -1)
        K = intrinsics(focal, focal, width / 2, height / 2)
        cameras.append(from_pose(pose, "opencv", K, (round(width), round(height)), name))
    return cameras


def _layers(image: Path, masks: Path, labels: Path) -> dict:
    label = beside(image, labels)
    layers = {"label": label, "mask": partial(_labelled, label)} if label else {}
    return {**layers, **mask_layers(image, masks)}


def _labelled(path: Path) -> Tensor:
    """Anything but background: what carries no label is an object's edge or part of it."""
    return read_indices(path) != 0


def _add_flow(views: list[View], source: Path) -> None:
    if not source.is_file():
        return
    arrays = read_npz(source)
    for key, layer, first in (("fwd", "flow_forward", 0), ("bwd", "flow_backward", 1)):
        flows = arrays.get(key)
        if flows is None or flows.ndim != 4 or len(flows) != len(views) - 1 or flows.shape[3] != 2:
            shape = "none" if flows is None else list(flows.shape)
            raise BadInput(
                f"{source}: {key}: expected shape [{len(views) - 1}, H, W, 2], got {shape}"
            )
        for index, flow in enumerate(flows):
            views[index + first].layers[layer] = partial(_float, flow)


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))
