"""A small capture by a rig in the layout of the NVIDIA Dynamic Scenes, with all that may lie beside it.

Behind the dots of :mod:`.captures` (never in the pictures' corners) stand three classes: the ground; a box whose
label picture is known; and, moving with time, a ball.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from .captures import capture

COLORS = {"ground": (0, 0, 0), "box": (128, 64, 0), "ball": (0, 64, 128)}
HEADER = "# label:color_rgb:parts:actions"


def ids(time: int, camera: int) -> np.ndarray:
    """Class ids [72, 96] of what ``camera`` sees at ``time``; every picture is another."""
    out = np.zeros((72, 96), np.uint8)
    out[20:40, 10 + camera : 30 + camera] = 1
    out[30 + time : 50 + time, 40:60] = 2
    return out


def colored(ids: np.ndarray) -> np.ndarray:
    return np.array(list(COLORS.values()), np.uint8)[ids]


def moving(time: int) -> np.ndarray:
    return ids(time, time) == 2


def flow(time: int, step: int, scale: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Flow [h, w, 2] and mask [h, w] of frame ``time``: constant, and valid in the lower half."""
    vectors = np.full((72 * scale, 96 * scale, 2), (2.0 + time, -1.0 * step), np.float32) * scale
    valid = np.zeros(vectors.shape[:2], bool)
    valid[36 * scale :] = True
    return vectors, valid


def disparity(time: int) -> np.ndarray:
    return np.arange(72 * 96, dtype=np.float32).reshape(72, 96) + 10000 * time


def write_rig(folder: Path, count: int = 4, enlarged: int = 1, images: str = "images"):
    """The layout with ``count`` cameras and times; all but the video's frames ``enlarged``. Its capture."""
    made = capture(count)
    names = made.write_images(folder / images)
    rows = []
    for pose in made.c2w:
        right, down, forward, position = pose[:3].T
        size = 2 * np.array([made.size[1], made.size[0], made.K[0, 0]])
        rows.append([*np.stack([down, right, -forward, position, size], -1).ravel(), 1.0, 9.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    for place in ("disp", "flow"):
        (folder / place).mkdir()
    for time, name in enumerate(names):
        np.save(folder / f"disp/{name}.npy", disparity(time).repeat(enlarged, 0).repeat(enlarged, 1))
        for key, step in (("fwd", 1), ("bwd", -1)):
            if 0 <= time + step < count:
                vectors, valid = flow(time, step, enlarged)
                np.savez(folder / f"flow/{time:03d}_{key}.npz", flow=vectors, mask=valid)
        picture(folder / f"motion_masks/{name}.png", moving(time).astype(np.uint8) * 255, enlarged)
        picture(folder / f"SegmentationClass_train/{name}.png", colored(ids(time, time)), enlarged)
        for camera, image in enumerate(made.images):
            place = f"{time + 1:08d}/cam{camera + 1:02d}.png"
            picture(folder / "multiview_GT" / place, np.repeat(image[..., None], 3, -1), enlarged)
            picture(folder / "multiview_GT_semantic" / place, colored(ids(time, camera)), enlarged)
    lines = [HEADER, *(f"{name}:{r},{g},{b}::" for name, (r, g, b) in COLORS.items())]
    (folder / "labelmap.txt").write_text("\n".join(lines) + "\n")
    (folder / "foreground_object.txt").write_text("ball\n")
    return made


def picture(path: Path, pixels: np.ndarray, enlarged: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.repeat(enlarged, 0).repeat(enlarged, 1)).save(path)
