"""What label-driven tasks share: a field of a part of the labels, and pictures of what it makes of the others."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..scenes import Frame
from ..scenes.splits import LabelSplit
from . import fit
from .fit_flow import fit_flow
from .pictures import label_colors, sheet, to_bytes, write_image, write_text_on
from .progress import bar, console
from .run import Run

ROWS = 4  # frames on the contact sheet


def gaussians(source: str | Path, output: str | Path, **options) -> Run:
    """A fit that lifts features of a teacher only if one is asked for, since labels need none."""
    wanted = {} if options.keys() & {"teacher", "semantics"} else {"semantics": "none"}
    return fit.fit(source, output, **wanted, **options)


METHODS = {"gaussians": gaussians, "flow": fit_flow}  # how a field is learned, by its kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``fit``, and the share of labels."""
    fit.add_arguments(parser)
    parser.add_argument("--share", type=float, default=50, help="percent of the frames whose labels are used")


def run(arguments: argparse.Namespace, split: Callable[[int], LabelSplit]) -> None:
    """Learn what ``arguments`` say of the labels that ``split`` leaves; or go on with it."""
    if arguments.resume:
        drawn(fit.resume(arguments.output))
        return
    learn_labels(**fit.asked(arguments), split=split, method=arguments.method)


def learn_labels(source: str | Path, output: str | Path, split: Callable[[int], LabelSplit],
                 method: str = "gaussians", **options) -> Run:
    """A run of the scene at ``source`` with the labels that ``split`` leaves, and pictures of the labels it gives.

    ``options`` are those of :func:`.fit.fit`. BadInput as there.
    """
    return drawn(METHODS[method](source, output, split=split, **options))


@torch.no_grad()
def drawn(made: Run) -> Run:
    """Write ``labels/labels.mp4``, pictures, true labels and the field's side by side through the video, and
    ``labels/labels.png``, some frames that were to be labelled; say how well they are."""
    from ..scenes.video import write_video

    field, split, frames, film = made.field, made.split, made.scene.split("train"), []
    with bar() as progress:
        task = progress.add_task("labels", total=len(frames), note="")
        for position, frame in enumerate(progress.track(frames, task_id=task)):
            known = "labels given" if position in split.labelled else "labels to be found"
            film.append(to_bytes(write_text_on(torch.cat(shown(field, frame), 1), known)))
    write_video(made.folder / "labels" / "labels.mp4", film, made.scene.frame_rate)
    some = split.unseen[:: -(-len(split.unseen) // ROWS)]
    rows = [shown(field, frames[position]) for position in some]
    write_image(
        made.folder / "labels" / "labels.png",
        sheet(rows, ["picture", "true labels", "found"], [frames[position].name for position in some]),
    )
    console.print(f"written: {made.folder / 'labels'}", highlight=False, markup=False, soft_wrap=True)
    return made


def shown(field, frame: Frame) -> list[Tensor]:
    """Pictures [H, W, 3]: the frame, its labels (black where it has none), and those of ``field``."""
    found = field.render(frame.camera, frame.time, channels=("logits",)).labels
    truth = frame.label if frame.has("label") else torch.full_like(found, -1)
    return [frame.image, label_colors(truth), label_colors(found)]
