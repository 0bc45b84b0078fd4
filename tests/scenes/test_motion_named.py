"""Labels in place of motion masks: whose classes move, where there are labels, and nothing of labels withheld."""

from dataclasses import replace

import pytest
import torch
from semaflow.scenes import BadInput, simulate
from semaflow.scenes.motion.masks import motion_masks
from semaflow.scenes.motion.named import mostly_moving, with_moving
from semaflow.scenes.splits import LabelSplit

MOVING = ("red ball", "blue ball")


@pytest.fixture(scope="module")
def scene():
    return simulate("balls", frames=6, width=64, height=36, samples=1, test=0)


def truth(scene, position):
    label = scene.split("train")[position].label
    return torch.isin(label, torch.tensor([scene.label_names.index(name) for name in MOVING]))


def test_labelled_classes_are_what_moves(scene):
    masks = motion_masks(with_moving(scene, MOVING))
    assert torch.equal(masks, torch.stack([truth(scene, k) for k in range(6)]))
    assert not torch.equal(masks, motion_masks(scene)), "the estimate says the same, so that this tests nothing"


def test_masks_that_come_along_are_overruled(scene):
    wrong = [frame.with_layers(motion=torch.ones(36, 64, dtype=torch.bool)) for frame in scene.frames]
    masks = motion_masks(with_moving(replace(scene, frames=wrong), MOVING))
    assert torch.equal(masks[2], truth(scene, 2))


def test_what_has_no_label_keeps_its_mask(scene):
    frames = list(scene.frames)
    part = frames[1].label.clone()
    part[:, 32:] = -1
    frames[1] = frames[1].with_layers(label=part)
    frames[4] = frames[4].with_layers(label=None)
    partly = replace(scene, frames=frames)
    masks, estimated = motion_masks(with_moving(partly, MOVING)), motion_masks(scene)
    assert torch.equal(masks[4], estimated[4])
    assert torch.equal(masks[1][:, 32:], estimated[1][:, 32:])
    assert torch.equal(masks[1][:, :32], truth(scene, 1)[:, :32])


@pytest.mark.parametrize("split", [LabelSplit.completion(6, 50), LabelSplit.tracking(6, 50, "all")])
def test_withheld_labels_say_nothing(scene, split):
    """Other labels of the unseen frames leave every mask as it is."""
    upset = list(scene.frames)
    for position in split.unseen:
        upset[position] = upset[position].with_layers(label=upset[position].label.roll(9, 1))
    made = [
        motion_masks(with_moving(split.seen(known), MOVING)) for known in (scene, replace(scene, frames=upset))
    ]
    assert torch.equal(*made)
    for position in split.labelled:
        assert torch.equal(made[0][position], truth(scene, position))


def test_unknown_classes_are_named(scene):
    with pytest.raises(BadInput, match="moving: expected classes among .*red ball.*, got 'dog'"):
        with_moving(scene, ("red ball", "dog"))
    bare = replace(scene, frames=[frame.with_layers(label=None) for frame in scene.frames], label_names=[])
    with pytest.raises(BadInput, match="moving: expected classes among none, since there are no labels, got 'dog'"):
        with_moving(bare, ("dog",))
    assert with_moving(bare, ()) is bare


def test_classes_that_mostly_move_are_found_and_complete_the_masks(scene):
    """Masks that miss every third row of the balls, and take a strip of the floor for moving."""
    frames = list(scene.frames)
    for position, index in enumerate(scene.train):
        mask = truth(scene, position)
        mask[::3] = False
        mask[-2:] = True
        frames[index] = frames[index].with_layers(motion=mask)
    holed = replace(scene, frames=frames)
    assert mostly_moving(holed) == [name for name in scene.label_names if name in MOVING]
    masks = motion_masks(with_moving(holed, MOVING, others_rest=False))
    for position in range(6):
        expected = truth(scene, position)
        expected[-2:] = True
        assert torch.equal(masks[position], expected)


def test_without_labels_no_class_is_known_to_move(scene):
    blind = replace(scene, frames=[frame.with_layers(label=None) for frame in scene.frames])
    assert mostly_moving(blind) == []
