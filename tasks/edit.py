"""Change things in a run without training it again: remove, recolour, move, repeat, insert, another background."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ..fields.edit import Edit
from ..scenes import BadInput, Camera, Scene
from ..scenes.scene import spread
from .edits import FILE, editing, identity, save
from .paths import upward
from .pictures import sheet, to_bytes, write_image
from .progress import bar, console
from .run import Run

KEPT = ("scene*.json", "field.safetensors", "objects/*.safetensors", "config.yaml")  # of a run; the last makes it one
MOMENTS = 5  # of the contact sheet


def edit(run: Run, output: str | Path, name: str | None = None, *, remove: bool = False,
         recolor: Sequence[float] | None = None, move: Sequence[float] | None = None,
         duplicate: Sequence[float] | None = None, scale: float | None = None, turn: float | None = None,
         freeze: float | None = None, retime: float | None = None, background: str | None = None,
         insert: str | None = None, clip: str | None = None, width: int | None = None) -> Run:
    """Edit a run into the run folder ``output``, with a video and a sheet of before and after.

    A run that is edited already is edited further. Several changes of one thing are made together.

    Args:
        name: the thing: a class, or an object selected among Gaussians.
        remove: it is gone.
        recolor: [3] in 0..1; it keeps its brightness.
        move: by [3] scene units. scale: by this. turn: degrees about the upright axis. All about its centre.
        duplicate: it is there once more, [3] scene units away; scaled, turned, frozen and retimed is what is new.
        freeze: at this time, 0..1. retime: its time runs so many times as fast; negative: backwards from the end.
        background: name of the video whose static field stands in.
        insert: name of the video from which the thing is taken; otherwise as for ``duplicate``, away by ``move``.
        clip: name of the video that is edited; None: the first.
        width: of the pictures; None: as the cameras are.

    Raises BadInput: nothing to do, contradictions, what the field does not know or cannot do, a folder that holds a
    run.
    """
    output, before = Run.vacant(output), run.field.edit
    change = {"scale": scale, "turn": turn, "time": freeze, "speed": retime}
    change = {key: value for key, value in change.items() if value is not None}
    begun = begin(run, clip)
    wanted = begun
    if any((remove, recolor, move, duplicate, insert, change)) and name is None:
        raise BadInput("edit: expected the name of what is changed, --object")
    if remove and any((recolor, move, duplicate, insert, change)):
        raise BadInput("edit: what is removed cannot be changed too")
    if duplicate is not None and (move is not None or insert is not None):
        raise BadInput("edit: expected one of duplicate, move and insert")
    if remove:
        wanted = wanted.without(name)
    elif insert is not None:
        wanted = wanted.inserted(name, insert, offset=move or (0, 0, 0), **change)
    elif duplicate is not None:
        wanted = wanted.repeated(name, offset=duplicate, **change)
    elif move is not None or change:
        wanted = wanted.changed(name, offset=move or (0, 0, 0), **change)
    if recolor is not None:
        wanted = wanted.recolored(name, tuple(recolor))
    if background is not None:
        wanted = replace(wanted, background=background)
    if wanted == begun:
        raise BadInput("edit: nothing to do; see semaflow edit --help")
    scene = scene_of(run, wanted)
    after = editing(run.folder, run.field, wanted, scene)
    cameras = views(scene, width)
    for pattern in KEPT:
        for path in sorted(run.folder.glob(pattern)):
            copied = output / path.relative_to(run.folder)
            copied.parent.mkdir(parents=True, exist_ok=True)
            if path.name == "config.yaml":
                save(after, output)
            shutil.copyfile(path, copied)
    made = Run.open(output)
    show(run.field, (before, after), scene, cameras, output)
    return made


def begin(run: Run, clip: str | None) -> Edit:
    """What is changed in a run already: nothing, in most."""
    path, names = run.folder / FILE, getattr(run.field, "names", [])
    if path.exists():
        done = Edit.read(path, identity(run.field))
        if clip is not None and clip != (done.clip or names[0]):
            raise BadInput(f"clip {clip!r}: the run is edited in {done.clip or names[0]} already")
        return done
    if clip is not None and clip not in names:
        raise BadInput(f"clip {clip!r}: expected one of {', '.join(names) or 'none'}")
    begun = Edit(clip=clip)
    return Edit(clip=clip, up=tuple(upward(scene_of(run, begun)).tolist()))


def scene_of(run: Run, wanted: Edit) -> Scene:
    """The scene of the video that is edited."""
    return run.scene if wanted.clip is None else run.scenes[run.field.names.index(wanted.clip)]


@torch.no_grad()
def show(field, edits: tuple, scene: Scene, cameras: list[Camera], folder: Path) -> None:
    """Write ``edited.mp4`` and ``edited.png``: the training frames before and after, side by side, by ``cameras``."""
    from ..scenes.video import write_video

    frames, pairs = scene.split("train"), []
    now, current = field.edit, getattr(field, "current", None)
    if current is not None:
        field.current = next(k for k, clip in enumerate(field.clips) if clip is edits[1].clip)
    with bar() as progress:
        task = progress.add_task("before and after", total=len(frames), note="")
        for frame, camera in progress.track(list(zip(frames, cameras, strict=True)), task_id=task):
            pair = []
            for field.edit in edits:
                pair.append(field.render(camera, frame.time).color.clamp(0, 1).cpu())
            pairs.append(pair)
    field.edit = now
    if current is not None:
        field.current = current
    write_video(folder / "edited.mp4", [to_bytes(torch.cat(pair, 1)) for pair in pairs], scene.frame_rate)
    chosen = spread(len(frames), MOMENTS)
    rows = [[pairs[k][side] for k in chosen] for side in (0, 1)]
    picture = sheet(rows, [f"time {frames[k].time:.2f}" for k in chosen], ["before", "after"])
    write_image(folder / "edited.png", picture)


def views(scene: Scene, width: int | None) -> list[Camera]:
    """The training cameras, their pictures so wide; BadInput unless these are all of one size."""
    if width is not None and width < 1:
        raise BadInput(f"width: expected at least 1 pixel, got {width}")
    cameras = scene.cameras
    if width is not None:
        cameras = [camera.resized(width, max(1, round(camera.height * width / camera.width))) for camera in cameras]
    if len({(camera.width, camera.height) for camera in cameras}) > 1:
        raise BadInput(f"{scene.name}: expected training frames of one size")
    return cameras


def three(text: str) -> tuple[float, float, float]:
    """``A,B,C`` as three numbers."""
    try:
        a, b, c = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected three numbers A,B,C, got {text!r}") from None
    return a, b, c


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``semaflow edit``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, perhaps an edited one")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="EDITED", help="run folder to make")
    parser.add_argument("--object", dest="name", metavar="NAME", help="a class, or a selected object")
    parser.add_argument("--remove", action="store_true", help="it is gone, and what is behind it is seen")
    parser.add_argument("--recolor", type=three, metavar="R,G,B", help="in 0..1; it keeps its brightness")
    parser.add_argument("--move", type=three, metavar="X,Y,Z", help="scene units; also --move=-1,0,0")
    parser.add_argument("--duplicate", type=three, metavar="X,Y,Z", help="once more, so far away")
    parser.add_argument("--scale", type=float, metavar="S", help="about its centre")
    parser.add_argument("--turn", type=float, metavar="DEG", help="degrees about the upright axis through its centre")
    parser.add_argument("--freeze", type=float, metavar="T", help="as it is at this time, 0..1")
    parser.add_argument("--retime", type=float, metavar="F", help="so many times as fast; negative: backwards")
    parser.add_argument("--background", metavar="CLIP", help="the static field of another video of the run")
    parser.add_argument("--insert", metavar="CLIP", help="the object of another video of the run, besides")
    parser.add_argument("--clip", metavar="NAME", help="which video of a run of several; the first if absent")
    parser.add_argument("--width", type=int, help="of the pictures; as the cameras are if absent")


def run(args: argparse.Namespace) -> None:
    """``semaflow edit``."""
    options = vars(args).copy()
    options.pop("verb", None)
    made = edit(Run.open(options.pop("run")), options.pop("output"), **options)
    console.print(f"written: {made.folder}, edited.mp4, edited.png", highlight=False, markup=False, soft_wrap=True)
