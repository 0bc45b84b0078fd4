"""``semaflow export``: a run in formats that other programs open."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from ..fields.gaussians.ply import write_ply
from ..scenes import BadInput
from .animation import Animation
from .glb import write_glb
from .selection import Selection
from .usd import write_usd
from .view.layers import Layers


@torch.no_grad()
def export(
    run,
    ply: Path | None = None,
    ply_sequence: Path | None = None,
    glb: Path | None = None,
    usd: Path | None = None,
    objects: list[str] | None = None,
    time: float | None = None,
    count: int = 200,
) -> list[Path]:
    """Write a run in one or several formats; returns the files.

    Args:
        run: an open ``Run``.
        ply: standard 3DGS PLY of the Gaussians posed at ``time``.
        ply_sequence: folder for one such file per training time, ``00000.ply`` on.
        glb, usd: points that move, and the objects' trajectories as lines.
        objects: names; only their Gaussians are written. None: all Gaussians, and trajectories of
            all objects.
        time: of ``ply``, 0..1; None: the first training time.
        count: trajectories at most.

    Raises BadInput: no format, no such object, a time outside 0..1, a place that cannot be written.
    """
    if all(target is None for target in (ply, ply_sequence, glb, usd)):
        raise BadInput("expected one of ply, ply_sequence, glb and usd")
    if time is not None and not 0 <= time <= 1:
        raise BadInput(f"time: expected 0 to 1, got {time:g}")
    if count < 1:
        raise BadInput(f"count: expected at least 1, got {count}")
    names = run.objects() if objects is None else objects
    selections = [run.object(name) for name in names]
    only = None if objects is None else union(selections)
    field, scene = run.gaussians, run.scene
    written = []

    def pose(path: Path, moment: float) -> None:
        state = field.at(moment)
        write_ply(path, state if only is None else state.subset(only.to(state.means.device)))
        written.append(path)

    if ply is not None:
        pose(ply, scene.times[0] if time is None else time)
    if ply_sequence is not None:
        for index, moment in enumerate(scene.times):
            pose(ply_sequence / f"{index:05d}.ply", moment)
    if glb is not None or usd is not None:
        animation = Animation.of(Layers(field, scene, selections, count), only)
        for path, write in ((glb, write_glb), (usd, write_usd)):
            if path is not None:
                write(path, animation)
                written.append(path)
    return written


def union(selections: list[Selection]) -> Tensor:
    """Gaussians of any of the selections, [N] bool."""
    return torch.stack([selection.selected for selection in selections]).any(0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``semaflow export``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--ply", type=Path, metavar="FILE", help="standard 3DGS PLY at one time")
    parser.add_argument("--ply-sequence", type=Path, metavar="DIR", help="one PLY per frame")
    parser.add_argument("--glb", type=Path, metavar="FILE", help="moving points, trajectories")
    parser.add_argument("--usd", type=Path, metavar="FILE.usda", help="the same as USD text")
    parser.add_argument(
        "--object", nargs="+", metavar="NAME", help="only these objects; everything if absent"
    )
    parser.add_argument("--time", type=float, help="of --ply, 0 to 1; the first frame's if absent")
    parser.add_argument("--count", type=int, default=200, help="trajectories at most")


def run(args: argparse.Namespace) -> None:
    """``semaflow export``."""
    from .progress import console
    from .run import Run

    written = export(
        Run.open(args.run), args.ply, args.ply_sequence, args.glb, args.usd, args.object,
        args.time, args.count,
    )
    what = written[0] if len(written) == 1 else f"{len(written)} files, the last {written[-1]}"
    console.print(f"written: {what}", highlight=False, markup=False, soft_wrap=True)
