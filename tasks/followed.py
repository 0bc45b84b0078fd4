"""Something followed through the training frames of a video: what is known of it, and the files that say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ..scenes import Camera, Scene
from ..scenes.files import replacing, write_json
from .masks import write_mask
from .pictures import overlay, to_bytes


@dataclass
class Followed:
    """An object through the training frames.

    Attributes:
        positions: [N, T, 3] in scene units, of the points that are followed.
        visible: [N, T] bool, by the rendered depth of each frame.
        colors: [N, 3] in 0..1.
        boxes: per time, as from :func:`.boxes.follow`.
        times: [T].
        gaussians: [N] indices of the points in a field of Gaussians; None in others.
    """

    positions: Tensor
    visible: Tensor
    colors: Tensor
    boxes: list[dict]
    times: Tensor
    gaussians: Tensor | None = None


def visibility(points: Tensor, camera: Camera, depth: Tensor, tolerance: Tensor | float) -> Tensor:
    """Whether points [N, 3] lie in the picture and no deeper than the rendered ``depth`` [H, W].

    ``tolerance`` [N] or one number, in scene units, is what a point may lie behind the surface.
    """
    pixels, z = camera.project(points)
    column, row = pixels[:, 0].floor().long(), pixels[:, 1].floor().long()
    inside = (z > 0) & (column >= 0) & (row >= 0)
    inside &= (column < camera.width) & (row < camera.height)
    column, row = column.clamp(0, camera.width - 1), row.clamp(0, camera.height - 1)
    surface = depth[row, column]
    return inside & ((surface <= 0) | (z <= surface + tolerance))


def write(output: Path, name: str, scene: Scene, masks: Sequence[Tensor], followed: Followed) -> None:
    """Write ``masks/00000.png...``, ``overlay.mp4`` and ``boxes.json`` into ``output``, and ``NAME.npz`` beside it.

    The npz holds ``tracks_XYZ`` [N, T, 3], ``visibility`` [N, T], ``colors`` [N, 3], ``times`` [T] and, of a field of
    Gaussians, ``gaussians`` [N]. ``masks`` are bool [H, W], of each training frame.
    """
    from ..scenes.video import write_video

    frames = scene.split("train")
    for index, mask in enumerate(masks):
        write_mask(output / "masks" / f"{index:05d}.png", mask)
    video = [to_bytes(overlay(frame.image, mask)) for frame, mask in zip(frames, masks, strict=True)]
    write_video(output / "overlay.mp4", video, scene.frame_rate)
    write_tracks(output.parent / f"{file_name(name)}.npz", followed)
    write_json(
        output / "boxes.json",
        {
            "object": name,
            "units": "scene",
            "frames": [
                {"frame": frame.name, "time": frame.time, **box}
                for frame, box in zip(frames, followed.boxes, strict=True)
            ],
        },
    )


def write_tracks(path: str | Path, followed: Followed) -> None:
    """Write trajectories as npz, atomically."""
    arrays = {
        "tracks_XYZ": followed.positions.float(), "visibility": followed.visible, "colors": followed.colors.float(),
        "times": followed.times.float(),
    } | ({} if followed.gaussians is None else {"gaussians": followed.gaussians})
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **{name: value.numpy() for name, value in arrays.items()})


def file_name(name: str) -> str:
    """``name`` as it can name a file, whatever a class is called."""
    return "".join(letter if letter.isalnum() or letter in " _-." else "_" for letter in name)
