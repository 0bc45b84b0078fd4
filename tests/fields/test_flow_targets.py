"""What a flow field is told of a video."""

import torch
from semaflow.fields.flow.targets import targets
from semaflow.scenes import Camera, Frame, Scene

CAMERA = Camera.look_at((0, -3, 0), (0, 0, 0), 8, 6)


def filmed(label):
    """One frame of a floor, a ball in the left half, a box on the right; the ball's last column is missed."""
    motion = torch.zeros(6, 8, dtype=torch.bool)
    motion[:, :3] = True
    layers = {"image": torch.zeros(6, 8, 3), "motion": motion}
    if label:
        layers["label"] = torch.zeros(6, 8, dtype=torch.long)
        layers["label"][:, :4], layers["label"][:, 6:] = 1, 2
    scene = Scene("one", [Frame("0", CAMERA, 0.0, **layers)], [0])
    scene.label_names = ["floor", "ball", "box"]
    return scene, motion


def test_all_of_a_class_that_moves_moves():
    scene, motion = filmed(label=True)
    moving = targets(scene).moving[0]
    assert moving[:, :4].all() and not moving[:, 4:].any()
    assert not motion[:, 3].any()


def test_without_labels_motion_masks_stand_alone():
    scene, motion = filmed(label=False)
    assert torch.equal(targets(scene).moving[0], motion)
