"""Select a thing by one click in one frame, and follow it in 3D through the whole video.

The click asks the field, not the picture: the feature under it is compared with those of all
Gaussians, so the far side and other times are found too, and the masks of all frames come from
one selection. Points on the thing keep their identity; visibility says when each is hidden.

    python examples/select_and_track.py

Writes run/tracks/ball.npz (tracks_XYZ [N, T, 3], visibility [N, T], colors [N, 3]), a mask per
frame, run/tracks/ball/overlay.mp4 and run/tracks/ball/boxes.json, and checks masks and tracks.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from semaflow.fields.metrics import jaccard
from semaflow.scenes import simulate
from semaflow.tasks.fit import fit
from semaflow.tasks.masks import read_labels
from semaflow.tasks.run import Run
from semaflow.tasks.select import select
from semaflow.tasks.targets import Target, targets
from semaflow.tasks.track import track


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="folder; a temporary one if absent")
    folder = parser.parse_args().output or Path(tempfile.mkdtemp(prefix="semaflow-"))

    simulate("balls", frames=12, width=128, height=72, test=0).save(folder / "scene")
    run = fit(folder / "scene", folder / "run", "tiny", teacher="scene", iterations=300)

    ball = next(target for target in targets(run.scene) if target.name == "red ball")
    frame, pixel = ball.click(run.scene.split("train"))
    selection = select(run, "ball", frame=run.scene.split("train").index(frame), click=pixel)
    print(f"{selection.how}: {int(selection.selected.sum())} of {run.field.count} Gaussians")
    track(run, selection)
    check(run, ball)


def check(run: Run, ball: Target) -> None:
    """The written masks must cover the ball; the written tracks must stay on it."""
    scores = []
    for index, frame in enumerate(run.scene.split("train")):
        mask = read_labels(run.folder / "tracks" / "ball" / "masks" / f"{index:05d}.png") > 0
        truth = ball.truth(frame)
        if truth.any():
            scores.append(jaccard(mask, truth))
    iou = sum(scores) / len(scores)

    with np.load(run.folder / "tracks" / "ball.npz", allow_pickle=False) as file:
        seen = file["visibility"][:, 0]
        followed = torch.from_numpy(file["tracks_XYZ"][seen])  # [N, T, 3]
    tracks = run.scene.tracks
    truth = tracks.positions[torch.isin(tracks.instance, torch.tensor(ball.ids))]
    truth = truth[torch.cdist(followed[:, 0], truth[:, 0]).argmin(1)]  # the nearest true point's
    went, goes = followed - followed[:, :1], truth - truth[:, :1]
    off, far = (went - goes).norm(dim=-1).median(), goes.norm(dim=-1).max()
    print(f"mean IoU of the masks of {len(scores)} frames: {iou:.3f}")
    print(f"points of the ball go up to {far:.2f} units and are followed within {off:.2f} of them")
    assert iou > 0.8, "the masks do not show the ball"
    assert off < 0.1 * far, "the tracks do not follow the ball"


if __name__ == "__main__":
    main()
