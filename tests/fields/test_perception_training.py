"""A perception field trained for seconds on small rooms: it shows rooms it has never seen, and goes on where it was."""

import pytest
import torch
from semaflow.fields.perception.trainer import PerceptionTrainer
from semaflow.scenes import BadInput

from tests.reference import perception_views as small


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
