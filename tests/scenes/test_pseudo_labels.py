"""Labels of frames that have none, from features."""

import torch
from semaflow.scenes import Camera, Frame, Scene
from semaflow.scenes.pseudo_labels import with_pseudo_labels

HEIGHT, WIDTH, CELL = 32, 48, 4
NAMES = ["floor", "ball", "twin"]


def video(labelled, noise=0.05, frames=6):
    """A scene whose left half is floor; its right half is ball above and twin below, which look the same. Its feature
    maps beside it."""
    truth = torch.zeros(HEIGHT, WIDTH, dtype=torch.long)
    truth[:16, 24:], truth[16:, 24:] = 1, 2
    look = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0]])
    maps = look[truth[::CELL, ::CELL]].permute(2, 0, 1).repeat(frames, 1, 1, 1)
    maps = maps + noise * torch.randn(maps.shape, generator=torch.Generator().manual_seed(0))
    camera = Camera.look_at((0, -3, 0.0), (0, 0, 0), WIDTH, HEIGHT)
    image = torch.zeros(HEIGHT, WIDTH, 3)
    shown = [
        Frame(f"{k:04d}", camera, k / (frames - 1), image=image, **({"label": truth} if k in labelled else {}))
        for k in range(frames)
    ]
    return Scene("video", shown, list(range(frames)), [], label_names=NAMES), maps, truth


def test_what_features_tell_is_labelled_and_what_they_do_not_tell_is_not():
    scene, maps, truth = video({0, 5})
    made = with_pseudo_labels(scene, maps, 0.97)
    for frame in made.split("train")[1:5]:
        floor = truth == 0
        assert (frame.label[floor] == 0).float().mean() > 0.7
        assert set(frame.label[floor].unique().tolist()) <= {-1, 0}
        assert (frame.label[~floor] == -1).all()
        assert (frame.label[:, 23:25] == -1).all()  # at the edge


def test_all_classes_are_told_where_all_look_different():
    scene, maps, truth = video({0, 5})
    maps[:, 2, 4:, 6:] += 2.0
    made = with_pseudo_labels(scene, maps, 0.97)
    for frame in made.split("train")[1:5]:
        known = frame.label >= 0
        assert known.float().mean() > 0.6
        assert torch.equal(frame.label[known], truth[known])


def test_one_labelled_frame_will_do():
    scene, maps, truth = video({2})
    label = with_pseudo_labels(scene, maps, 0.97).split("train")[0].label
    assert (label[truth == 0] == 0).float().mean() > 0.7 and (label[truth > 0] == -1).all()


def test_given_labels_stay_and_without_any_there_are_none():
    scene, maps, truth = video({1})
    assert torch.equal(with_pseudo_labels(scene, maps, 0.97).split("train")[1].label, truth)
    for labelled in (set(), set(range(6))):
        scene, maps, _ = video(labelled)
        assert with_pseudo_labels(scene, maps, 0.97) is scene


def test_features_that_are_noise_tell_nothing():
    scene, maps, _ = video({0, 5}, noise=100.0)
    made = with_pseudo_labels(scene, maps, 0.97)
    assert all((frame.label >= 0).float().mean() < 0.02 for frame in made.split("train")[1:5])
