"""Follow an object: masks of every frame, an overlay video, 3D trajectories, boxes."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..fields.gaussians.color import mean_color
from ..fields.gaussians.state import GaussianState
from ..scenes import BadInput, Camera
from ..scenes.files import replacing, write_json
from .boxes import follow
from .following import Follower
from .masks import write_mask
from .pictures import overlay, to_bytes
from .progress import bar, console
from .reselect import reselected
from .selection import Selection


@dataclass
class Followed:
    """An object through the training frames.

    Attributes:
        gaussians: [N] indices of the points that are followed.
        positions: [N, T, 3] in scene units.
        visible: [N, T] bool, by the rendered depth of each frame.
        colors: [N, 3] in 0..1.
        boxes: per time, as from :func:`.boxes.follow`.
        times: [T].
    """

    gaussians: Tensor
    positions: Tensor
    visible: Tensor
    colors: Tensor
    boxes: list[dict]
    times: Tensor


def choose_points(state: GaussianState, selected: Tensor, count: int | None) -> Tensor:
    """Indices of up to ``count`` selected Gaussians, solid ones only, spread evenly; None: all."""
    ids = (selected.to(state.means.device) & (state.opacities > 0.1)).nonzero()[:, 0]
    if len(ids) == 0:  # an object of faint Gaussians only
        ids = selected.nonzero()[:, 0]
    if count is None or len(ids) <= count:
        return ids.cpu()
    generator = torch.Generator().manual_seed(0)
    return ids.cpu()[torch.randperm(len(ids), generator=generator)[:count]].sort().values


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


@torch.no_grad()
def track(
    run, selection: Selection, points: int | None = 2000, output: str | Path | None = None,
    refine: bool = False,
) -> Followed:
    """Follow ``selection`` through the training frames of a run and write what is found.

    Writes into ``output`` (``tracks/NAME`` of the run unless given): ``masks/00000.png...``,
    ``overlay.mp4``, ``boxes.json`` (centroid and boxes per frame); and beside it ``NAME.npz`` with
    ``tracks_XYZ`` [N, T, 3], ``visibility`` [N, T], ``colors`` [N, 3], ``times`` [T] and
    ``gaussians`` [N].

    Args:
        run: an open ``Run``.
        points: how many points to follow; None follows every Gaussian of the object.
        refine: let the run's teacher, one that makes masks, sharpen the field's, by :class:`.Follower`. Where the
            Gaussians that these show are others than ``selection``, they are saved as the object and followed.
    """
    from ..scenes.video import write_video

    if points is not None and points < 1:
        raise BadInput(f"points: expected at least 1, got {points}")
    follower = Follower(run) if refine else None
    field, frames = run.gaussians, run.scene.split("train")
    output = run.folder / "tracks" / selection.name if output is None else Path(output)
    masks, depths = [], []
    for frame in frames:
        state = field.at(frame.time)
        seen = state.render(frame.camera, ("depth",), selection.selected[:, None].to(state.means))
        masks.append(seen.values[..., 0].cpu())
        depths.append(seen.depth.cpu())
    if follower is None:
        masks = [mask > 0.5 for mask in masks]
    else:
        rough, masks = masks, follower(selection, masks)
        chosen = reselected(field, frames, selection, rough, masks)
        if chosen is not selection:
            run.save_object(chosen)
        selection = chosen
    ids = choose_points(field.at(frames[0].time), selection.selected, points)
    positions, seen = [], []
    with bar() as progress:
        task = progress.add_task("track", total=len(frames), note=selection.name)
        for frame, depth in zip(progress.track(frames, task_id=task), depths, strict=True):
            state = field.at(frame.time)
            here = state.means[ids].cpu()
            reach = behind(state, ids, here)
            positions.append(here)
            seen.append(visibility(here, frame.camera, depth, reach))
    for index, mask in enumerate(masks):
        write_mask(output / "masks" / f"{index:05d}.png", mask)
    video = [to_bytes(overlay(frame.image, mask)) for frame, mask in zip(frames, masks, strict=True)]
    write_video(output / "overlay.mp4", video, run.scene.frame_rate)
    colors = mean_color(state.sh[ids]).cpu()
    times = torch.tensor([frame.time for frame in frames])
    positions = torch.stack(positions, 1)
    boxes = follow(positions, state.opacities[ids])
    followed = Followed(ids, positions, torch.stack(seen, 1), colors, boxes, times)
    write_tracks(output.parent / f"{selection.name}.npz", followed)
    write_json(
        output / "boxes.json",
        {
            "object": selection.name,
            "units": "scene",
            "frames": [
                {"frame": frame.name, "time": frame.time, **box}
                for frame, box in zip(frames, boxes, strict=True)
            ],
        },
    )
    return followed


def behind(state: GaussianState, ids: Tensor, positions: Tensor) -> Tensor:
    """How far behind the rendered surface a Gaussian's centre may lie and still be seen, [N].

    Its own largest standard deviation and 5% of the object's extent, which is what rendered depth
    is off by at most of an object's pixels.
    """
    extent = (positions.amax(0) - positions.amin(0)).norm()
    return state.scales[ids].amax(-1).cpu() + 0.05 * extent


def write_tracks(path: str | Path, followed: Followed) -> None:
    """Write trajectories as npz, atomically."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file,
            tracks_XYZ=followed.positions.float().numpy(),
            visibility=followed.visible.numpy(),
            colors=followed.colors.float().numpy(),
            times=followed.times.float().numpy(),
            gaussians=followed.gaussians.numpy(),
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``semaflow track``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--object", required=True, metavar="NAME", help="which object")
    parser.add_argument("--points", type=int, default=2000, help="how many points to follow")
    parser.add_argument("--refine", action="store_true", help="let a teacher that makes masks sharpen the field's")
    parser.add_argument("-o", "--output", type=Path, help="folder; RUN/tracks/NAME if absent")


def run(args: argparse.Namespace) -> None:
    """``semaflow track``."""
    from .run import Run

    opened = Run.open(args.run)
    followed = track(opened, opened.object(args.object), args.points, args.output, args.refine)
    console.print(
        f"{args.object}: {len(followed.gaussians)} points through {len(followed.times)} frames, "
        f"{followed.visible.float().mean():.0%} visible",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
