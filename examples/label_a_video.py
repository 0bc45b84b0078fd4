"""Label a video that comes with no labels: networks trained in other rooms look at every frame.

What they say of a frame is wrong in places and flickers from one to the next. Lifted onto Gaussians,
which follow what moves, the frames outvote one another: one field knows the classes at every time and
from every side, and a thing in it can be followed by the name of its class.

    python examples/label_a_video.py

Writes labelled/scene.json (the video with its labels), run/field.safetensors, run/tracks/ball.npz,
run/tracks/ball/overlay.mp4 and labels.png (picture | true classes | the networks' | the field's), and
checks the labels of new cameras at all times, and where the ball is.
"""

import argparse
import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from semaflow.fields.metrics import confusion, jaccard, mean_iou
from semaflow.fields.segmentation import labels_of
from semaflow.scenes import Frame, Scene, simulate
from semaflow.scenes.simulate import meshes, motions
from semaflow.scenes.simulate.bodies import body
from semaflow.scenes.simulate.cameras import CameraPath, Footage
from semaflow.scenes.simulate.rooms import rooms
from semaflow.scenes.simulate.worlds import World
from semaflow.tasks.fit import fit
from semaflow.tasks.masks import read_labels
from semaflow.tasks.perceive import train
from semaflow.tasks.perceive_labels import label
from semaflow.tasks.pictures import label_colors, sheet, write_image
from semaflow.tasks.run import Run
from semaflow.tasks.track import track

ROOMS, UNSEEN = range(5), 100
COLORS = ((0.82, 0.2, 0.16), (0.16, 0.38, 0.78), (0.2, 0.6, 0.28), (0.92, 0.74, 0.16))
# Labels are read from the frames' own pictures: hardly any ray need be followed to learn them.
QUICK = {
    "iterations": 220, "rays": 16, "patches": 0.0, "coarse": 4, "importance": 0, "reference_semantics": 1.0,
    "warm_up": 10, "known_depth": 0.0, "sure_depth": 0.0,
}  # fmt: skip


@dataclass
class Part:
    """The first ``share`` of a camera's walk, in the whole time."""

    walk: CameraPath
    share: float

    def camera(self, time, width, height):
        return self.walk.camera(self.share * time, width, height)

    def novel(self, index, time, width, height):
        return self.walk.novel(index, self.share * time, width, height)


def room(seed: int) -> World:
    """A furnished room in whose middle a large ball hangs in the air."""
    angle = 2.4 * seed
    place = motions.standing(torch.eye(3).numpy(), (0.3 * math.cos(angle), 0.3 * math.sin(angle), 1.2))
    return with_ball(rooms(seed), replace(ball(seed, motions.Rigid(place)), moves=False))


def video(seed: int) -> World:
    """Such a room, in which the ball flies from one side to the other, filmed on a part of the way round."""
    flight = motions.gliding((-0.35, -0.1, 1.1), (0.35, 0.1, 1.3), turn=1.5)
    world = with_ball(rooms(seed), ball(seed, motions.Rigid(flight)))
    world.walk = Part(world.walk, 0.2)
    return world


def ball(seed: int, motion):
    return body("large ball", meshes.ball(0.25), [COLORS[seed % len(COLORS)]], seed, motion, label="ball")


def with_ball(world: World, thing) -> World:
    footage = Footage(frames=8, test=0, width=64, height=48)
    return replace(world, bodies=(*world.bodies, thing), instances=[], footage=footage)


def unlabelled(scene: Scene) -> Scene:
    """``scene`` as a camera would bring it home: pictures, nothing else."""
    frames = [Frame(frame.name, frame.camera, frame.time, image=frame.image) for frame in scene.frames]
    return replace(scene, frames=frames, tracks=None, label_names=[], part_names=[])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="folder; a temporary one if absent")
    folder = parser.parse_args().output or Path(tempfile.mkdtemp(prefix="semaflow-"))

    for seed in ROOMS:
        simulate(room(seed), samples=1).save(folder / "rooms" / str(seed))
    networks = train([folder / "rooms" / str(seed) for seed in ROOMS], folder / "networks", "tiny", **QUICK)

    truth = simulate(video(UNSEEN), frames=20, width=96, height=72, test=6, samples=1)
    unlabelled(truth).save(folder / "video")
    label(networks.folder, folder / "video", folder / "labelled")
    run = fit(folder / "labelled", folder / "run", "tiny", semantics="none", iterations=300)
    track(run, run.object("ball"))
    draw(networks, run, truth, folder / "labels.png")
    check(networks, run, truth)


def said(networks: Run, frame: Frame):
    """Classes of a frame by the networks, from its picture."""
    return labels_of(networks.field.classify(frame.image))


def shown(run: Run, frame: Frame):
    """Classes of a frame by the Gaussians, rendered."""
    with torch.no_grad():
        return run.field.render(frame.camera, frame.time, ("logits",)).labels


def draw(networks: Run, run: Run, truth: Scene, path: Path) -> None:
    some = truth.split("test")[::2]
    rows = [
        [f.image, *(label_colors(labels) for labels in (f.label, said(networks, f), shown(run, f)))] for f in some
    ]
    write_image(path, sheet(rows, ["picture", "true", "networks", "field"], [frame.name for frame in some]))


def check(networks: Run, run: Run, truth: Scene) -> None:
    """The networks must know much more than which class is the commonest, and the field no less than they do, of
    pictures that it has not seen; the ball's masks must show it, and its points must go where it goes."""
    count = len(truth.label_names)
    by_networks, by_field = torch.zeros(2, count, count, dtype=torch.long)
    for frame in truth.split("test"):
        by_networks += confusion(frame.label, said(networks, frame), count)
        by_field += confusion(frame.label, shown(run, frame), count)
    commonest = torch.zeros(count, count, dtype=torch.long)
    commonest[:, by_field.sum(1).argmax()] = by_field.sum(1)
    guess, alone, lifted = mean_iou(commonest), mean_iou(by_networks), mean_iou(by_field)
    print(f"mIoU of new cameras: networks {alone:.3f}, lifted {lifted:.3f}; one class for all {guess:.3f}")

    overlaps = []
    for index, frame in enumerate(truth.split("train")):
        mask = read_labels(run.folder / "tracks" / "ball" / "masks" / f"{index:05d}.png") > 0
        overlaps.append(jaccard(mask, frame.mask))
    overlap = sum(overlaps) / len(overlaps)
    with np.load(run.folder / "tracks" / "ball.npz", allow_pickle=False) as file:
        went = torch.from_numpy(file["tracks_XYZ"]).median(0).values.diff(dim=0).sum(0)
    true = truth.tracks.positions[truth.tracks.instance == truth.tracks.instance.max()]
    goes = (true[:, -1] - true[:, 0]).mean(0)
    print(f"mean IoU of the ball's masks {overlap:.3f}; it goes {goes.tolist()}, followed {went.tolist()}")
    assert alone > 4 * guess, "the networks have learned nothing that holds elsewhere"
    assert lifted >= alone, "the frames together know less than one alone"
    assert overlap > 0.4, "the ball is lost"
    assert (went - goes).norm() < 0.5 * goes.norm(), "the ball is not followed"


if __name__ == "__main__":
    main()
