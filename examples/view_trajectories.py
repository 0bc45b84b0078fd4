"""Trajectories of an object in 3D: as a picture, and as files for other programs.

A small video of a simulated world is learned, one of its balls is selected by a click, and the
paths of its Gaussians are drawn over the scene's points (no display is needed) and exported.
In the picture colours say what a thing is, pale is the past, spheres are where it is now.

    python examples/view_trajectories.py                     a simulated world, about a minute
    python examples/view_trajectories.py RUN --object ball   a run that you have

Writes trajectories.png, trajectories.glb (plays in Blender and three.js) and trajectories.usda.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from semaflow.scenes import simulate
from semaflow.tasks.export import export
from semaflow.tasks.fit import fit
from semaflow.tasks.run import Run
from semaflow.tasks.select import select
from semaflow.tasks.targets import Target, targets
from semaflow.tasks.view import view


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, help="run folder; a new one if absent")
    parser.add_argument("--object", nargs="+", help="names of objects; all of the run if absent")
    parser.add_argument("-o", "--output", type=Path, default=Path("trajectories"), help="folder")
    options = parser.parse_args()

    run = Run.open(options.run) if options.run else learned(options.output)
    picture = options.output / "trajectories.png"
    view(run, options.object, screenshot=picture)
    written = export(
        run,
        glb=options.output / "trajectories.glb",
        usd=options.output / "trajectories.usda",
        objects=options.object,
    )
    print("wrote", ", ".join(str(path) for path in [picture, *written]))
    pixels = np.asarray(Image.open(picture)).astype(int)
    colorful = (pixels.max(-1) - pixels.min(-1) > 80).mean()
    print(f"{colorful:.1%} of the picture is strongly coloured")
    assert colorful > 0.005, "the picture shows no trajectories"
    if not options.run:
        check(run)


def learned(folder: Path) -> Run:
    """A run on a small simulated world with the object ``ball``."""
    simulate("balls", frames=12, width=160, height=90, test=0).save(folder / "scene")
    run = fit(folder / "scene", folder / "run", "tiny", teacher="scene", iterations=250)
    frames = run.scene.split("train")
    frame, pixel = red_ball(run).click(frames)
    select(run, "ball", frame=frames.index(frame), click=pixel)
    return run


def red_ball(run: Run) -> Target:
    """What the truth of the world says of the red ball."""
    return next(target for target in targets(run.scene) if target.name == "red ball")


def check(run: Run) -> None:
    """Points on the ball, followed through the field, must go the way that they truly went."""
    tracks = run.scene.tracks
    times = torch.tensor(run.scene.times)
    seen = torch.isin(tracks.instance, torch.tensor(red_ball(run).ids)) & tracks.visible[:, 0]
    truth = tracks.positions[seen]
    followed = run.field.trajectories(truth[:, 0], times[0].item(), times)
    off = (followed - truth).norm(dim=-1).median()
    far = (truth - truth[:, :1]).norm(dim=-1).max()
    print(f"points of the ball go up to {far:.2f} units and are followed within {off:.2f} of them")
    assert off < 0.2 * far, "the trajectories do not follow the ball"


if __name__ == "__main__":
    main()
