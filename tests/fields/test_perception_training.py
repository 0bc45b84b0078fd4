"""A perception field trained for a minute on small rooms shows one it has never seen; training goes on where it was."""

import pytest
import torch
from semaflow.fields import metrics
from semaflow.fields.perception.config import preset
from semaflow.fields.perception.field import PerceptionField
from semaflow.fields.perception.targets import targets
from semaflow.fields.perception.trainer import PerceptionTrainer
from semaflow.fields.perception.views import views_of
from semaflow.scenes import BadInput, simulate

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
    with pytest.raises(BadInput, match="not a checkpoint of this field"):
        PerceptionTrainer(small.field(classes=4), [small.targets()]).load_checkpoint(path)


def test_a_scene_of_too_few_pictures_is_refused():
    with pytest.raises(BadInput, match="noise: reference views: expected at least 3 beside the target, got 2"):
        PerceptionTrainer(small.field(), [small.targets(3)])
