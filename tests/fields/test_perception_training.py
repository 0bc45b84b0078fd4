"""A perception field trained for a minute on small rooms shows one it has never seen; training goes on where it was."""

import dataclasses

import pytest
import torch
from semaflow.fields import metrics
from semaflow.fields.perception.config import preset
from semaflow.fields.perception.field import PerceptionField
from semaflow.fields.perception.targets import targets
from semaflow.fields.perception.trainer import PerceptionTrainer
from semaflow.fields.perception.views import views_of
from semaflow.scenes import BadInput, Camera, simulate
from semaflow.scenes.simulate import meshes, motions, world
from semaflow.scenes.simulate.bodies import body
from semaflow.scenes.simulate.cameras import CameraPath

from tests.reference import perception_views as small


def room(seed: int):
    return simulate("rooms", frames=8, width=64, height=48, seed=seed, samples=1, test=3)


@pytest.fixture(scope="module")
def trained():
    rooms = [room(seed) for seed in range(5)]
    torch.manual_seed(0)
    field = PerceptionField(preset("tiny").replaced(iterations=250), rooms[0].label_names)
    trainer = PerceptionTrainer(field, [targets(scene) for scene in rooms])
    while not trainer.finished:
        trainer.step()
    return field.eval()


def test_a_room_never_seen_is_shown_and_its_classes_are_told(trained):
    unseen = room(100)
    views = views_of(unseen)
    trained.look_at(views)
    count = len(unseen.label_names)
    ours, mean, depths = [], [], []
    matrix = torch.zeros(count, count, dtype=torch.long)
    everywhere = torch.zeros(count, dtype=torch.long)
    for frame in unseen.split("test"):
        shown = trained.render(frame.camera, 0.0, ("color", "depth", "logits"))
        ours.append(metrics.psnr(shown.color.clamp(0, 1), frame.image))
        near = views.pictures(views.nearest(frame.camera.viewmat, 0.0, trained.config.views))
        mean.append(metrics.psnr(near.mean(0).permute(1, 2, 0), frame.image))
        depths.append(((shown.depth - frame.depth).abs() / frame.depth).median().item())
        matrix += metrics.confusion(frame.label, shown.labels, count)
        everywhere += torch.bincount(frame.label[frame.label >= 0], minlength=count)
    # the one class that most pixels have, said of all pixels
    guess = torch.zeros_like(matrix)
    guess[:, everywhere.argmax()] = everywhere
    figures = {
        "psnr": sum(ours) / len(ours), "mean of views": sum(mean) / len(mean), "depth": sum(depths) / len(depths),
        "miou": metrics.mean_iou(matrix), "guess": metrics.mean_iou(guess), "accuracy": metrics.accuracy(matrix),
        "accuracy of guess": metrics.accuracy(guess),
    }
    assert figures["psnr"] > figures["mean of views"] + 3.0, figures
    assert figures["miou"] > 4 * figures["guess"], figures
    assert figures["accuracy"] > figures["accuracy of guess"] + 0.15, figures
    assert figures["depth"] < 0.2, figures


def test_classes_are_told_from_one_picture_of_a_room_never_seen(trained):
    unseen = room(100)
    count = len(unseen.label_names)
    matrix = torch.zeros(count, count, dtype=torch.long)
    for frame in unseen.frames:
        matrix += metrics.confusion(frame.label, trained.classify(frame.image).argmax(-1), count)
    guess = torch.zeros_like(matrix)
    guess[:, matrix.sum(1).argmax()] = matrix.sum(1)
    figures = [(metrics.mean_iou(found), metrics.accuracy(found)) for found in (matrix, guess)]
    assert figures[0][0] > 4 * figures[1][0] and figures[0][1] > figures[1][1] + 0.15, figures
    with pytest.raises(BadInput, match="picture: expected at least 17 pixels along a side, got 16"):
        trained.classify(torch.rand(16, 40, 3))


@dataclasses.dataclass
class ThereAndBack:
    """A part of a camera's walk, and back: each place twice, at different times."""

    walk: CameraPath

    def camera(self, time, width, height):
        return self.walk.camera(0.3 * (1 - abs(1 - 2 * time)), width, height)

    def novel(self, index, time, width, height):
        return self.walk.novel(index, 0.3 * (1 - abs(1 - 2 * time)), width, height)


def test_a_room_in_which_something_moves_is_shown_better_from_views_around_the_time(trained):
    still = world("rooms", 100)
    flight = motions.Rigid(motions.gliding((-0.35, -0.1, 1.1), (0.35, 0.1, 1.3), turn=1.5))
    ball = body("large ball", meshes.ball(0.25), [(0.82, 0.2, 0.16)], 100, flight, label="ball")
    moving = dataclasses.replace(still, bodies=(*still.bodies, ball), instances=[], walk=ThereAndBack(still.walk))
    scene = simulate(moving, frames=24, width=64, height=48, samples=1, test=4)
    shown = {}
    for window in (1.0, 0.1):
        trained.look_at(views_of(scene, window=window))
        pictures = [trained.render(f.camera, f.time).color.clamp(0, 1) for f in scene.split("test")]
        found = [metrics.psnr(own, f.image) for own, f in zip(pictures, scene.split("test"), strict=True)]
        shown[window] = sum(found) / len(found)
    assert shown[0.1] > shown[1.0] + 0.3, shown


def test_a_checkpoint_goes_on_as_if_nothing_had_happened(tmp_path):
    straight = PerceptionTrainer(small.field(iterations=4), [small.targets(), small.targets(seed=2)])
    losses = [straight.step()["loss"] for _ in range(4)]
    first = PerceptionTrainer(small.field(iterations=4), [small.targets(), small.targets(seed=2)])
    for _ in range(2):
        first.step()
    first.save_checkpoint(tmp_path / "checkpoint.safetensors")
    second = PerceptionTrainer(small.field(iterations=4, seed=9), [small.targets(), small.targets(seed=2)])
    second.load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert second.iteration == 2
    assert [second.step()["loss"] for _ in range(2)] == pytest.approx(losses[2:], rel=1e-5) and second.finished
    for (name, a), b in zip(straight.field.named_parameters(), second.field.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5), name


def test_a_checkpoint_of_other_classes_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    PerceptionTrainer(small.field(classes=3), [small.targets()]).save_checkpoint(path)
    line = r"not a checkpoint of this field: expected 4 classes \(class 0, .*\), got 3 classes \(.*class 2\)$"
    with pytest.raises(BadInput, match=line):
        PerceptionTrainer(small.field(classes=4), [small.targets()]).load_checkpoint(path)


def test_a_picture_that_no_other_overlaps_is_refused():
    found = small.targets()
    found.views.viewmats[3] = Camera.look_at((0, -3, 0), (0, -9, 0), 4, 4).viewmat
    with pytest.raises(BadInput, match="noise: training frame 3: shows nothing that a reference view shows"):
        PerceptionTrainer(small.field(), [found])


def test_a_scene_of_too_few_pictures_is_refused():
    with pytest.raises(BadInput, match="noise: reference views: expected at least 3 beside the target, got 2"):
        PerceptionTrainer(small.field(), [small.targets(3)])
