"""``semaflow demo``: film a simulated world, learn it, pick an object, follow it, show and measure everything."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import torch

from ..scenes import BadInput, simulate
from ..scenes.files import write_json
from .progress import console

# What is clicked in each world, in the frame that shows most of it.
CLICKED = {"balls": "red ball", "walker": "walker", "flag": "flag", "twins": "twin"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``semaflow demo``."""
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), help="folder to make")
    parser.add_argument("--world", default="balls", choices=list(CLICKED), help="what is filmed")
    parser.add_argument("--preset", default="fast", choices=["tiny", "fast"], help="how long to train")
    parser.add_argument("--frames", type=int, default=48, help="length of the video")
    parser.add_argument("--width", type=int, default=240, help="width of the video; its height is 9/16 of that")


def run(arguments: argparse.Namespace) -> None:
    """The verb."""
    demo(arguments.output, arguments.world, arguments.preset, arguments.frames, arguments.width)


def demo(folder: Path, world: str = "balls", preset: str = "fast", frames: int = 48, width: int = 240) -> dict:
    """Everything in ``folder``: ``scene/``, ``run/``, and the pictures; returns the figures.

    A demo that was made there before is replaced.
    """
    from .baselines import teacher_alone
    from .evaluate import evaluate
    from .fit import fit, peak_memory
    from .report import print_table
    from .select import select
    from .targets import targets
    from .track import track

    started = time.perf_counter()
    if folder.exists() and any(folder.iterdir()) and not (folder / "scene" / "scene.json").exists():
        raise BadInput(f"{folder}: is not empty and holds no demo; choose another folder")
    shutil.rmtree(folder, ignore_errors=True)
    console.rule("[bold]1  film[/bold]")
    with console.status(f"filming {world}"):
        scene = simulate(world, frames=frames, width=width, height=round(width * 9 / 16))
        scene.save(folder / "scene")
    console.print(f"{frames} frames of {width} pixels from a hand-held camera, {len(scene.test)} held-out views")
    console.rule("[bold]2  fit[/bold]")
    run = fit(folder / "scene", folder / "run", preset, teacher="scene")
    console.rule("[bold]3  select[/bold]")
    found = targets(run.scene)
    wanted = next(target for target in found if CLICKED[world] in target.name)
    frame, pixel = wanted.click(run.scene.split("train"))
    index = run.scene.split("train").index(frame)
    name = CLICKED[world].replace(" ", "-")
    selection = select(run, name, frame=index, click=pixel)
    console.print(f"{name}: clicked at {pixel[0]:.0f},{pixel[1]:.0f} of frame {index}: "
                  f"{int(selection.selected.sum())} Gaussians")
    console.rule("[bold]4  track[/bold]")
    track(run, selection)
    shutil.copy(run.folder / "tracks" / name / "overlay.mp4", folder / "overlay.mp4")
    console.rule("[bold]5  measure[/bold]")
    figures = evaluate(run.field, run.scene, train=False)
    figures["teacher_alone"] = teacher_alone(run.scene, run.teacher())
    pictures(run, selection, folder)
    figures |= {"seconds": time.perf_counter() - started, "peak_memory_mb": peak_memory()}
    figures["bytes_on_disk"] = (run.folder / "field.safetensors").stat().st_size
    write_json(folder / "metrics.json", figures)
    print_table(figures)
    for made in ("contact_sheet.png", "overlay.mp4", "trajectories.png", "metrics.json"):
        if (folder / made).exists():
            console.print(f"  {folder / made}", highlight=False)
    return figures


@torch.no_grad()
def pictures(run, selection, folder: Path) -> None:
    """The contact sheet, and the screenshot of the object's trajectories where polyscope is there."""
    from .painters import GaussianPainter
    from .pictures import overlay, sheet, write_image
    from .view import trajectory_screenshot
    from .view.backend import NoViewer
    from .view.layers import Layers

    frames, field = run.scene.split("train"), run.field
    views = run.scene.split("test") or frames
    colors = GaussianPainter(field, run.scene).feature_colors
    shown = torch.cat([colors, selection.selected[:, None].to(colors)], 1)
    rows, labels = [], []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        view = min(views, key=lambda frame: abs(frame.time - share))
        taken = min(frames, key=lambda frame: abs(frame.time - view.time))
        seen = field.at(view.time).render(view.camera, values=shown)
        color, values = seen.color.cpu().clamp(0, 1), seen.values.cpu()
        features, mask = values[..., :3].clamp(0, 1), values[..., 3] > 0.5
        rows.append([taken.image, color, features, overlay(color, mask)])
        labels.append(f"t = {view.time:.2f}")
    heads = ["input video", "novel view", "features (PCA)", f"selected: {selection.name}"]
    write_image(folder / "contact_sheet.png", sheet(rows, heads, labels))
    try:
        trajectory_screenshot(Layers(field, run.scene, [selection]), folder / "trajectories.png")
    except NoViewer as error:
        console.print(f"the screenshot is left out: {error}", highlight=False, markup=False, soft_wrap=True)
