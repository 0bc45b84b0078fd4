"""Take a run to other programs: splats as PLY, one or one per frame, and moving points as GLB.

The PLY files have the layout of 3D Gaussian splatting that viewers of splats read; there is one
of the whole world, and one per frame of a selected ball alone. The GLB holds points that move and
the ball's trajectories as lines, and plays in Blender and in browsers.

    python examples/export_everything.py

Writes world.ply, ball/00000.ply and so on, and moving.glb; reads the files back and checks them.
"""

import argparse
import json
import struct
import tempfile
from pathlib import Path

import torch
from semaflow.fields.gaussians.ply import read_ply
from semaflow.scenes import simulate
from semaflow.tasks.export import export
from semaflow.tasks.fit import fit
from semaflow.tasks.run import Run
from semaflow.tasks.select import select
from semaflow.tasks.targets import targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="folder; a temporary one if absent")
    folder = parser.parse_args().output or Path(tempfile.mkdtemp(prefix="semaflow-"))

    simulate("balls", frames=12, width=128, height=72, test=0).save(folder / "scene")
    run = fit(folder / "scene", folder / "run", "tiny", teacher="scene", iterations=250)
    ball = next(target for target in targets(run.scene) if target.name == "red ball")
    frame, pixel = ball.click(run.scene.split("train"))
    select(run, "ball", frame=run.scene.split("train").index(frame), click=pixel)

    export(run, ply=folder / "world.ply", glb=folder / "moving.glb", time=0.5)
    export(run, ply_sequence=folder / "ball", objects=["ball"])
    print(f"wrote {folder / 'world.ply'}, {folder / 'ball'} and {folder / 'moving.glb'}")
    check(run, folder)


def check(run: Run, folder: Path) -> None:
    """What is read back must render as the run does, and the ball's files must move as it does."""
    camera = run.scene.cameras[len(run.scene.cameras) // 2]
    with torch.no_grad():
        ours, theirs = run.field.at(0.5), read_ply(folder / "world.ply", 0.5)
        seen = [state.render(camera).color for state in (ours, theirs)]
        off = (seen[0] - seen[1]).abs().max()
    print(f"{len(theirs)} Gaussians read back render the same within {off:.1e}")
    assert len(theirs) == run.field.count
    assert off < 1e-3, "the PLY file renders differently"

    poses = [read_ply(path) for path in sorted((folder / "ball").glob("*.ply"))]
    assert len(poses) == len(run.scene.times)
    middles = torch.stack([pose.means.median(0).values for pose in poses])
    way = (middles - middles[:1]).norm(dim=-1).max()
    print(f"{len(poses)} files of the ball's {len(poses[0])} Gaussians, which go {way:.2f} units")
    assert way > 0.3, "the ball stands still"

    data = (folder / "moving.glb").read_bytes()
    magic, version, size, length = struct.unpack("<4sIII", data[:16])
    tree = json.loads(data[20 : 20 + length])
    assert (magic, version, size) == (b"glTF", 2, len(data))
    assert tree["animations"], "the GLB does not move"


if __name__ == "__main__":
    main()
