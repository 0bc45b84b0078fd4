"""Name an object: by a click on a frame, by words, or by a pixel mask."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..scenes import BadInput, Frame, Scene
from .likeness import Likeness
from .masks import read_mask
from .queries import (
    NEGATIVES,
    SEEN,
    calibrated_threshold,
    clicked_gaussian,
    mask_share,
    moving,
    patch_feature,
    pixel_index,
    text_scores,
)
from .refine import seen_feature
from .selection import Selection, check_name, combine
from .threshold import automatic_threshold

# How much a frame has a say in a Gaussian's score, in cosines, and the accumulated weight, in pixels, at which half
# of it counts.
WITNESS, ENOUGH = 0.3, 10.0


def frame_at(scene: Scene, index: int) -> Frame:
    """Training frame ``index`` (from 0); BadInput when there is none."""
    frames = scene.split("train")
    if not 0 <= index < len(frames):
        raise BadInput(f"frame: expected 0 to {len(frames) - 1}, got {index}")
    return frames[index]


@torch.no_grad()
def by_click(
    field,
    frame: Frame,
    pixel: tuple[float, float],
    name: str,
    pick: str = "patch",
    grain: str = "whole",
    threshold: float | None = None,
    likeness: Likeness | None = None,
) -> Selection:
    """Gaussians whose feature is like the one at a pixel of ``frame`` (DGD, section 3.3).

    Args:
        pixel: (x, y) with (0.5, 0.5) the centre of the first pixel.
        pick: ``gaussian`` asks for the feature of the strongest Gaussian there, ``patch`` for the
            mean of 5x5 pixels of the rendered feature map.
        threshold: least cosine with the query, as in DGD. None: what is liker to the query than to
            anything else in the field, by :meth:`.likeness.Likeness.contrast`.
        grain: without a threshold, whether ``whole`` things are meant or a ``part``.
        likeness: of ``field``, where it was made before.
    """
    likeness = Likeness.of(field) if likeness is None else likeness
    state = field.at(frame.time)
    if pick == "gaussian":
        query = likeness.features[clicked_gaussian(state, frame.camera, pixel)]
    elif pick == "patch":
        query = patch_feature(field, state, frame.camera, pixel)
    else:
        raise BadInput(f"pick: expected gaussian or patch, got {pick!r}")
    how = f"click at ({pixel[0]:g}, {pixel[1]:g}) of {frame.name}, {pick}"
    if threshold is None:
        return Selection.of(name, likeness.contrast(query, grain), 0.0, query, f"{how}, {grain}")
    return Selection.of(name, likeness.cosine(query), threshold, query, how)


@torch.no_grad()
def by_text(
    field,
    teacher,
    prompts: Sequence[str],
    name: str,
    negatives: Sequence[str] = NEGATIVES,
    threshold: float | None = None,
) -> Selection:
    """Gaussians that the teacher's text tower finds closer to a prompt than to the ``negatives``.

    BadInput when the teacher has no text tower.
    """
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise BadInput("text: expected words, got nothing")
    scores, query = text_scores(Likeness.of(field), teacher, prompts, negatives)
    how = "text " + " or ".join(repr(prompt) for prompt in prompts)
    cut = automatic_threshold(scores) if threshold is None else threshold
    return Selection.of(name, scores, cut, query, how)


@torch.no_grad()
def by_mask(field, frame: Frame, mask: Tensor, name: str, threshold: float | None = None) -> Selection:
    """Gaussians like those that a pixel mask [H, W] of ``frame`` shows, here and elsewhere.

    The likeness of a feature to the mean feature of what lies in the mask decides, cut where it separates the mask
    best from the rest of the frame. Of two things that look alike the mask tells which is meant: the share of a
    Gaussian's accumulated weight inside the mask raises or lowers its score, the more the better the frame shows it.
    Where the mask shows mainly what moves, what rests is left out, and the other way round. Scores are margins, 0
    being the cut. A field without semantics selects what the frame shows.

    A share counts from a half of the largest there is: where a field is coarse, no Gaussian lies in
    a small mask by itself alone.
    """
    share, weight = mask_share(field, [(frame.camera, frame.time, mask)])
    most = share[weight > SEEN].amax() if (weight > SEEN).any() else share.new_zeros(())
    if most < 0.1:
        raise BadInput("mask: the field shows nothing that lies in it")
    margin = share - most / 2
    query = None
    if field.semantics() is None:
        margin = torch.where(weight > SEEN, margin, -0.5)
    else:
        likeness = Likeness.of(field)
        inside = torch.where(margin > 0, share * weight, 0.0)
        query = likeness.features.T @ (inside / inside.sum())
        alike = likeness.centred(query)
        moves = moving(field)
        same = moves == ((share * weight)[moves].sum() > 0.5 * (share * weight).sum())
        cut = calibrated_threshold(alike[same], share[same], weight[same])
        witness = WITNESS * margin / most * weight / (weight + ENOUGH)
        margin = torch.where(same, alike - cut + witness, -1.0)
    how = f"mask of {int(mask.sum())} pixels of {frame.name}"
    if threshold is not None:
        return Selection.of(name, margin, threshold, query, how)
    return replace(Selection.of(name, margin, 0.0, query, how), frame=frame.name, pixels=mask.cpu())


def select(
    run,
    name: str,
    *,
    frame: int = 0,
    click: tuple[float, float] | None = None,
    text: Sequence[str] | None = None,
    pixels: str | Path | None = None,
    pick: str = "patch",
    grain: str = "whole",
    refine: bool = True,
    negatives: Sequence[str] = NEGATIVES,
    threshold: float | None = None,
    both: Sequence[str] = (),
    either: Sequence[str] = (),
    minus: Sequence[str] = (),
) -> Selection:
    """Select an object of a run in one of three ways, combine it with others, and save it.

    Args:
        run: an open ``Run``.
        frame: number of the training frame of ``click`` or ``pixels``.
        refine: with a teacher that can, first turn the click into a mask of the frame.
        both, either, minus: names of objects to combine with.
        Others as for :func:`by_click`, :func:`by_text` and :func:`by_mask`.
    """
    check_name(name)
    if sum(given is not None for given in (click, text, pixels)) > 1:
        raise BadInput("select: expected one of click, text and pixels, got several")
    base = None
    if click is not None:
        shown = frame_at(run.scene, frame)
        pixel_index(shown.camera, click)
        teacher = mask_maker(run) if refine else None
        if teacher is not None:
            mask = teacher.mask(shown.image, [click], grain=grain)
            base = by_mask(run.gaussians, shown, mask, name, threshold)
            base.query = seen_feature(run, frame, mask)
            base.how = f"click at ({click[0]:g}, {click[1]:g}), {grain}, made a {base.how}"
        else:
            base = by_click(run.gaussians, shown, click, name, pick, grain, threshold)
    elif text is not None:
        base = by_text(run.gaussians, run.teacher(), text, name, negatives, threshold)
    elif pixels is not None:
        shown = frame_at(run.scene, frame)
        base = by_mask(run.gaussians, shown, read_mask(pixels, shown.camera), name, threshold)
    others = [[run.object(other) for other in names] for names in (both, either, minus)]
    selection = combine(name, base, *others)
    run.save_object(selection)
    return selection


def mask_maker(run):
    """The run's teacher if it turns clicks into masks, else None."""
    try:
        teacher = run.teacher()
    except BadInput:  # its weights are not here (any more): a click does not need them
        return None
    return teacher if teacher.can_mask else None


def pixel_pair(text: str) -> tuple[float, float]:
    """``X,Y`` as two numbers."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected X,Y in pixels, got {text!r}") from None
    return x, y


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``semaflow select``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--name", required=True, help="what to call the object")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--click", type=pixel_pair, metavar="X,Y", help="a pixel of the object")
    way.add_argument("--text", nargs="+", metavar="WORDS", help="prompts, any of which may fit")
    way.add_argument("--pixels", type=Path, metavar="MASK.png", help="mask of the object")
    parser.add_argument("--frame", type=int, default=0, help="training frame, from 0")
    parser.add_argument(
        "--pick",
        choices=("gaussian", "patch"),
        default="patch",
        help="click: the strongest Gaussian, or the mean feature of 5x5 pixels",
    )
    parser.add_argument(
        "--grain",
        choices=("whole", "part"),
        default="whole",
        help="click: the whole thing, or only what differs from its other parts",
    )
    parser.add_argument(
        "--refine",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="click: let a teacher that can make masks turn it into one",
    )
    parser.add_argument("--negatives", nargs="*", default=NEGATIVES, metavar="WORDS", help="what text is not")
    parser.add_argument("--threshold", type=float, help="least score; read off the scores if absent")
    parser.add_argument("--and", dest="both", nargs="+", default=[], metavar="NAME", help="keep both")
    parser.add_argument("--or", dest="either", nargs="+", default=[], metavar="NAME", help="add")
    parser.add_argument("--minus", nargs="+", default=[], metavar="NAME", help="take away")


def run(args: argparse.Namespace) -> None:
    """``semaflow select``."""
    from .progress import console
    from .run import Run

    options = vars(args).copy()
    folder = options.pop("run")
    options.pop("verb", None)
    opened = Run.open(folder)
    chosen = select(opened, options.pop("name"), **options)
    console.print(
        f"{chosen.name}: {int(chosen.selected.sum())} of {len(chosen.selected)} Gaussians, "
        f"score >= {chosen.threshold:.3f} ({chosen.how})",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
