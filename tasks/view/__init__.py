"""``semaflow view``: look at a run in 3D, in a window or as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from .screenshot import trajectory_screenshot

__all__ = ["add_arguments", "run", "trajectory_screenshot", "view"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``semaflow view``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument(
        "--object", nargs="+", metavar="NAME", help="objects or classes to follow; if absent all objects of the run, "
        "or all classes that move"
    )
    parser.add_argument(
        "--screenshot", type=Path, metavar="FILE.png", help="write a picture, open no window"
    )
    parser.add_argument(
        "--time", type=float, help="moment to show, 0 to 1; a window opens at 0, a picture shows 1"
    )
    parser.add_argument("--count", type=int, default=200, help="trajectories at most")
    parser.add_argument("--clip", metavar="NAME", help="which video of a run of several; the first if absent")


def run(args: argparse.Namespace) -> None:
    """``semaflow view``."""
    from ..progress import console
    from ..run import Run

    view(Run.open(args.run), args.object, args.screenshot, args.time, args.count, args.clip)
    if args.screenshot is not None:
        console.print(f"written: {args.screenshot}", highlight=False, markup=False, soft_wrap=True)


def view(
    run,
    objects: list[str] | None = None,
    screenshot: Path | None = None,
    time: float | None = None,
    count: int = 200,
    clip: str | None = None,
) -> None:
    """Open the viewer on a run, or write the picture ``screenshot`` of it.

    Raises BadInput: no such object, class or clip, a time outside 0..1, no display for a window, no polyscope.
    """
    from ...fields.gaussians.field import GaussianField
    from ...scenes import BadInput
    from .backend import start
    from .layers import Layers
    from .panel import Panel
    from .surfels import SurfelLayers, keep_nothing
    from .viewer import Look, Viewer

    if time is not None and not 0 <= time <= 1:
        raise BadInput(f"time: expected 0 to 1, got {time:g}")
    if count < 1:
        raise BadInput(f"count: expected at least 1, got {count}")
    field, scene = run.clip(clip)
    if field.kind == GaussianField.kind:
        selections = [run.object(name) for name in (run.objects() if objects is None else objects)]
        layers, save = Layers(field, scene, selections, count), run.save_object
    else:
        layers, save = SurfelLayers(field, scene, objects, count), keep_nothing
    if screenshot is not None:
        trajectory_screenshot(layers, screenshot, time)
        return
    ps = start("window", 1600, 900)
    viewer = Viewer(ps, layers, Look(scene.times[0] if time is None else time))
    ps.set_user_callback(Panel(viewer, ps.imgui, save))
    ps.show()
