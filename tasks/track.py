"""Follow an object: masks of every frame, an overlay video, 3D trajectories, boxes."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from ..fields.gaussians.color import mean_color
from ..fields.gaussians.field import GaussianField
from ..fields.gaussians.state import GaussianState
from ..scenes import BadInput
from .boxes import follow
from .followed import Followed, visibility, write
from .following import Follower
from .progress import bar, console
from .reselect import reselected
from .selection import Selection


def choose_points(state: GaussianState, selected: Tensor, count: int | None) -> Tensor:
    """Indices of up to ``count`` selected Gaussians, solid ones only, spread evenly; None: all."""
    ids = (selected.to(state.means.device) & (state.opacities > 0.1)).nonzero()[:, 0]
    if len(ids) == 0:  # an object of faint Gaussians only
        ids = selected.nonzero()[:, 0]
    if count is None or len(ids) <= count:
        return ids.cpu()
    generator = torch.Generator().manual_seed(0)
    return ids.cpu()[torch.randperm(len(ids), generator=generator)[:count]].sort().values


@torch.no_grad()
def track(
    run, selection: Selection, points: int | None = 2000, output: str | Path | None = None,
    refine: bool = False,
) -> Followed:
    """Follow ``selection`` through the training frames of a run and write what is found.

    Writes what :func:`.followed.write` says into ``output``, ``tracks/NAME`` of the run unless given.

    Args:
        run: an open ``Run``.
        points: how many points to follow; None follows every Gaussian of the object.
        refine: let the run's teacher, one that makes masks, sharpen the field's, by :class:`.Follower`. Where the
            Gaussians that these show are others than ``selection``, they are saved as the object and followed.
    """
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
    colors = mean_color(state.sh[ids]).cpu()
    times = torch.tensor([frame.time for frame in frames])
    positions = torch.stack(positions, 1)
    boxes = follow(positions, state.opacities[ids])
    followed = Followed(positions, torch.stack(seen, 1), colors, boxes, times, ids)
    write(output, selection.name, run.scene, masks, followed)
    return followed


def behind(state: GaussianState, ids: Tensor, positions: Tensor) -> Tensor:
    """How far behind the rendered surface a Gaussian's centre may lie and still be seen, [N].

    Its own largest standard deviation and 5% of the object's extent, which is what rendered depth
    is off by at most of an object's pixels.
    """
    extent = (positions.amax(0) - positions.amin(0)).norm()
    return state.scales[ids].amax(-1).cpu() + 0.05 * extent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``semaflow track``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--object", required=True, metavar="NAME", help="which object or class")
    parser.add_argument("--points", type=int, default=2000, help="how many points to follow")
    parser.add_argument("--refine", action="store_true", help="let a teacher that makes masks sharpen the field's")
    parser.add_argument("--clip", metavar="NAME", help="which video of a run of several; the first if absent")
    parser.add_argument("-o", "--output", type=Path, help="folder; RUN/tracks/NAME if absent")


def run(args: argparse.Namespace) -> None:
    """``semaflow track``."""
    from .run import Run
    from .track_class import track_class

    opened = Run.open(args.run)
    field = opened.gaussians if args.refine else opened.field
    if field.kind == GaussianField.kind:
        opened.clip(args.clip)  # BadInput for a video of a name, of which there is none
        followed = track(opened, opened.object(args.object), args.points, args.output, args.refine)
    else:
        followed = track_class(opened, args.object, args.points, args.output, args.clip)
    console.print(
        f"{args.object}: {len(followed.positions)} points through {len(followed.times)} frames, "
        f"{followed.visible.float().mean():.0%} visible",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
