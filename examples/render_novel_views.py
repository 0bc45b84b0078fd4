"""Render a field from where no camera was: an orbit, and the held-out views of a test path.

One pass per picture gives colour, depth, features (their principal components as colours),
semantics (the classes of labels), objects (selected things in colour, the rest in grey) and
correspondence (what moves, coloured by where its matter is at the middle frame). Time runs on
while the camera moves, and a depth map's colours mean the same in every picture of a path.

    python examples/render_novel_views.py

Writes orbit/rgb.mp4, orbit/depth.mp4, orbit/features.mp4, orbit/semantics.mp4,
orbit/objects.mp4, orbit/correspondence.mp4, test/rgb.mp4, and numbered pictures such as test/rgb/00000.png; checks
colour and depth of the held-out views.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from semaflow.fields.metrics import psnr
from semaflow.scenes import simulate
from semaflow.scenes.images import read_image
from semaflow.tasks.fit import fit
from semaflow.tasks.render import CHANNELS, render
from semaflow.tasks.run import Run
from semaflow.tasks.select import select
from semaflow.tasks.targets import targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="folder; a temporary one if absent")
    folder = parser.parse_args().output or Path(tempfile.mkdtemp(prefix="semaflow-"))

    simulate("balls", frames=12, width=128, height=72, test=4).save(folder / "scene")
    run = fit(folder / "scene", folder / "run", "tiny", teacher="scene", iterations=250)
    frames = run.scene.split("train")
    for target in targets(run.scene)[:2]:
        frame, pixel = target.click(frames)
        select(run, target.name, frame=frames.index(frame), click=pixel)

    render(run, "orbit", CHANNELS, frames=8, width=160, output=folder / "orbit")
    render(run, "test", ("rgb",), output=folder / "test")
    print(f"wrote {folder / 'orbit'} and {folder / 'test'}")
    check(run, folder / "test")


def check(run: Run, written: Path) -> None:
    """Held-out views must look as the world does, and lie as far away."""
    quality, errors = [], []
    for index, frame in enumerate(run.scene.split("test")):
        picture = read_image(written / "rgb" / f"{index:05d}.png")
        quality.append(psnr(picture, frame.image))
        depth = run.field.render(frame.camera, frame.time, channels=("depth",)).depth.detach()
        errors.append(((depth - frame.depth).abs() / frame.depth)[frame.depth > 0])
    mean, off = sum(quality) / len(quality), torch.cat(errors).median()
    print(f"held-out views: PSNR {mean:.2f} dB, depth within {off:.1%} at half of the pixels")
    assert mean > 16, "the novel views do not look like the world"
    assert off < 0.1, "the novel views have another shape than the world"


if __name__ == "__main__":
    main()
