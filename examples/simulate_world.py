"""Simulate a world of your own: a ball rolls past a crate, filmed with the truth about every pixel.

Shapes get base colours and a random texture each, one of them a motion, and a camera films them at
twelve times. Each frame knows its depth, labels and optical flow. Then the same world is filmed
without the ball. Nothing is rendered until a layer is asked for.

    python examples/simulate_world.py

Writes world.png (above: the video; below: without the ball) and checks the flow against the motion.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from semaflow.scenes import Camera
from semaflow.scenes.files import replacing
from semaflow.scenes.simulate import meshes, motions
from semaflow.scenes.simulate.bodies import body
from semaflow.scenes.simulate.worlds import World

FRAMES, RADIUS = 12, 0.4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("world"), help="folder")
    options = parser.parse_args()

    slab, cube = meshes.box([9, 9, 0.1]), meshes.box([0.7, 0.7, 0.7])
    roll = motions.rolling(start=(-1.1, 0.0), end=(1.1, 0.0), radius=RADIUS)
    floor = body("floor", slab.moved([0, 0, -0.05]), [(0.6, 0.55, 0.5)], seed=1, contrast=0.5)
    crate = body("crate", cube.moved([0.4, 1.0, 0.35]), [(0.6, 0.4, 0.2)], seed=1)
    ball = body("ball", meshes.ball(RADIUS), [(0.8, 0.2, 0.15)], seed=1, motion=motions.Rigid(roll))
    world = World("rolling", (floor, crate, ball))

    camera = Camera.look_at((0.0, -3.5, 1.6), (0.0, 0.0, 0.4), width=240, height=135, fov=50)
    times = [index / (FRAMES - 1) for index in range(FRAMES)]
    frames = world.film([camera] * FRAMES, times)
    without = world.without("ball").film([camera] * FRAMES, times)

    rows = [
        torch.cat([film[i].image for i in range(0, FRAMES, 4)], 1) for film in (frames, without)
    ]
    with replacing(options.output / "world.png") as path:
        Image.fromarray((torch.cat(rows) * 255).byte().numpy()).save(path)
    print(f"wrote {options.output / 'world.png'}")

    check(world, roll, frames)
    assert not any((frame.label == world.labels.index("ball")).any() for frame in without)


def check(world: World, roll, frames) -> None:
    """The flow of the ball's pixels is that of its pose; it rolls as far as its turning says."""
    here, after = frames[5], frames[6]
    on_ball = here.label == world.labels.index("ball")
    y, x = on_ball.nonzero().T
    pixels = torch.stack([x, y], -1) + 0.5
    points = here.camera.unproject(pixels, here.depth[on_ball]).double().numpy()
    (turn, center), (turned, moved) = roll(here.time), roll(after.time)
    carried = torch.from_numpy((points - center) @ turn @ turned.T + moved).float()
    expected, _ = after.camera.project(carried)
    error = (expected - pixels - here.flow_forward[on_ball]).norm(dim=-1).max().item()
    angle = np.arccos((np.trace(turned @ turn.T) - 1) / 2)
    slip = abs(angle * RADIUS - np.linalg.norm(moved - center))
    print(f"{on_ball.sum()} pixels of the ball; flow within {error:.1e} pixels; slip {slip:.1e}")
    assert on_ball.sum() > 1500
    assert error < 0.01
    assert slip < 1e-9


if __name__ == "__main__":
    main()
