"""ScanNet scans as its exporter writes them: ``color``, ``depth``, ``pose``, ``intrinsic``, ``label-filt``.

Dai et al., CVPR 2017; classes, splits and picture size as Semantic-Ray (Liu et al., CVPR 2023) and GP-NeRF use them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..files import BadInput
from ..images import image_size, read_image
from ..scene import Scene
from .facts import facts, frame_split
from .indoor import class_reader, depth_range, depth_reader, matrix, numbered, scene_of
from .options import whole
from .sized import Size, sized
from .views import View, from_pose

FORMAT = "scannet"
INTRINSICS = "intrinsic/intrinsic_color.txt"
CLASSES = "scannetv2-labels.combined.tsv"


def detect(path: Path) -> bool:
    return (path / INTRINSICS).is_file() and (path / "color").is_dir() and (path / "pose").is_dir()


def read(
    path: Path,
    split: str = "generalised",
    width: int = 320,
    height: int = 240,
    near: float = 0.1,
    far: float = 10.0,
) -> Scene:
    """A scan; frames go by the numbers of their files, and those without a finite pose are left out.

    Args:
        split: ``generalised``: every 5th frame trains; ``finetune``: every 3rd, the test frames excepted; both test on
            frames 2, 22 ... 182. ``all``: every frame trains.
        width, height: of the pictures to give. The proportions change a little, so K is scaled in x and y apart.
        near, far: depth outside of this is 0, metres.

    ``color/N.jpg``, ``pose/N.txt`` (camera to world) and ``intrinsic/intrinsic_color.txt``, whose pixel centres are
    whole numbers, have to be there. ``depth/N.png`` in millimetres is optional, and taken to show what the colour
    shows, as in the works named. So is ``label-filt/N.png``, of raw ids, whose classes
    ``scannetv2-labels.combined.tsv`` tells, in ``path`` or up to two folders above.
    """
    known, size = facts(FORMAT), (whole("width", width, 1), whole("height", height, 1))
    near, far = depth_range(near, far, path)
    files = numbered(path / "color")
    stored = image_size(next(iter(files.values())))
    K = matrix(path / INTRINSICS, (4, 4))[:3, :3]
    K[:2, 2] += 0.5
    poses = {number: matrix(path / "pose" / f"{number}.txt", (4, 4)) for number in files}
    lost = [number for number, pose in poses.items() if not np.isfinite(pose).all()]
    posed = [number for number in files if number not in lost]
    train, test = frame_split(known["frames"], split, posed, path)
    labelled = (path / "label-filt").is_dir()
    table = _classes(path, known["classes"]) if labelled else None

    def view(number: int, time: float) -> View:
        camera = from_pose(poses[number], "opencv", K, stored, f"{path / 'pose' / str(number)}.txt").resized(*size)
        layers = {}
        depth, label = (path / folder / f"{number}.png" for folder in ("depth", "label-filt"))
        if depth.is_file():
            layers["depth"] = sized("depth", depth_reader(depth, known["depth"]["scale"], near, far), size)
        if table is not None and label.is_file():
            layers["label"] = sized("label", class_reader(label, table), size)
        image = sized("image", partial(_picture, files[number], stored), size)
        return View(str(number), image, camera, time, layers=layers, size=size)

    names = list(known["classes"].values()) if labelled else []
    return scene_of(path, path, view, train, test, names, lost)


def _picture(file: Path, size: Size) -> Tensor:
    image = read_image(file)
    if image.shape[:2] != (size[1], size[0]):
        raise BadInput(f"{file}: image is {image.shape[1]}x{image.shape[0]}, expected {size[0]}x{size[1]} as the first")
    return image


def _classes(path: Path, classes: dict[str, str]) -> Tensor:
    """Class of each raw id, int64 [2^16], -1 for what is none of ``classes`` (names by NYU40 id)."""
    places = [folder / CLASSES for folder in (path, *path.resolve().parents[:2])]
    source = next((place for place in places if place.is_file()), None)
    if source is None:
        raise BadInput(f"{path / CLASSES}: missing, here and above, while labels are there")
    head, *rows = (line.split("\t") for line in source.read_text(encoding="utf-8").splitlines())
    if not {"id", "nyu40id"} <= set(head):
        raise BadInput(f"{source}: expected columns id and nyu40id, got {', '.join(head)}")
    raw, coarse = head.index("id"), head.index("nyu40id")
    order = list(classes)
    table = torch.full((1 << 16,), -1, dtype=torch.int64)
    for line, row in enumerate(rows, 2):
        cells = [row[column].strip() if column < len(row) else "" for column in (raw, coarse)]
        if not all(cell.isdecimal() for cell in cells) or int(cells[0]) >= len(table):
            raise BadInput(f"{source}: line {line}: expected numbers below {len(table)} for id and nyu40id")
        table[int(cells[0])] = order.index(cells[1]) if cells[1] in order else -1
    return table
