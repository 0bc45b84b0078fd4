"""Follow matter through a flow field: what belongs together over time, and where a class goes.

A flow field learns velocities, so that it can say where the matter that a pixel shows is at any
other moment. Here every pixel of what moves is coloured by where its matter is at the middle
frame: the same matter has the same colour in all frames, from whatever side it is seen. Points on
a cube, which the field knows as a class, are followed in 3D.

    python examples/follow_matter.py

The points are in the file "moving cube.npz" as for an object of Gaussians: tracks_XYZ [N, T, 3],
visibility [N, T], colors [N, 3].

Writes matter/correspondence.mp4, matter/rgb.mp4, cube/overlay.mp4 and cube/boxes.json; checks
colours and tracks against where things truly went.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from semaflow.scenes import Scene, simulate
from semaflow.scenes.images import read_image
from semaflow.tasks.fit_flow import fit_flow
from semaflow.tasks.render import render
from semaflow.tasks.track_class import track_class

GAP = 6  # frames between two pictures that are compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="folder; a temporary one if absent")
    folder = parser.parse_args().output or Path(tempfile.mkdtemp(prefix="semaflow-"))

    simulate("twins", frames=12, width=96, height=54, test=0).save(folder / "scene")
    # Few rays and many steps: motion is learned from the video's own tracks, whatever the number of rays.
    run = fit_flow(
        folder / "scene", folder / "run", "tiny", encoder="given", static_iterations=100, dynamic_iterations=500,
        static_rays=64, dynamic_rays=64, samples=12, proposals=16, known_tracks=10.0,
    )
    render(run, "train", ("rgb", "correspondence"), output=folder / "matter")
    followed = track_class(run, "moving cube", 500, folder / "cube")
    print(f"wrote {folder / 'matter'} and {folder / 'cube'}")
    check_colors(run.scene, folder / "matter" / "correspondence")
    check_tracks(run.scene, followed.positions)


def check_colors(scene: Scene, written: Path) -> None:
    """Places of the cube must keep their colours from frame to frame, better than pixels do."""
    frames, tracks = scene.split("train"), scene.tracks
    pictures = [read_image(written / f"{index:05d}.png") for index in range(len(frames))]
    moving = (tracks.positions - tracks.positions[:, :1]).norm(dim=-1).amax(1) > 0.1
    same, fixed = [], []
    for first in range(len(frames) - GAP):
        later = first + GAP
        seen = moving & tracks.visible[:, first] & tracks.visible[:, later]
        before, after = (pixels(tracks.positions[seen, k], frames[k].camera) for k in (first, later))
        color = pictures[first][before]
        same.append((color - pictures[later][after]).abs().mean(-1))
        fixed.append((color - pictures[later][before]).abs().mean(-1))
    same, fixed = torch.cat(same).median().item(), torch.cat(fixed).median().item()
    print(f"in {GAP} frames the colour of the same matter changes by {same:.3f}, that of a pixel by {fixed:.3f}")
    assert same < 0.6 * fixed, "colours do not follow the matter"


def pixels(points: torch.Tensor, camera) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns of the pixels in which points [P, 3] lie."""
    column, row = camera.project(points)[0].floor().long().unbind(1)
    return row.clamp(0, camera.height - 1), column.clamp(0, camera.width - 1)


def check_tracks(scene: Scene, followed: torch.Tensor) -> None:
    """Points followed [N, T, 3] must go where the true ones nearest to them go."""
    tracks = scene.tracks
    truth = tracks.positions[tracks.label == scene.label_names.index("moving cube")]
    truth = truth[torch.cdist(followed[:, 0], truth[:, 0]).argmin(1)]
    went, goes = followed - followed[:, :1], truth - truth[:, :1]
    off, far = (went - goes).norm(dim=-1).median(), goes.norm(dim=-1).max()
    print(f"points of the cube go up to {far:.2f} units and are followed within {off:.2f} of them")
    assert off < 0.3 * far, "the tracks do not follow the ball"


if __name__ == "__main__":
    main()
