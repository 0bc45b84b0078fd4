"""Which places labelled pictures show, and how others are classified."""

import torch
from semaflow.fields.flow.shown import CELLS, shown_places
from semaflow.fields.flow.targets import Targets

from tests.reference import flow_clips


def told(labelled, depth=3.0):
    """A clip and its targets, with ``depth`` everywhere and labels in some frames."""
    clip = flow_clips.clip()
    frames, size = len(clip.times), (clip.height, clip.width)
    labels = torch.full((frames, *size), -1)
    labels[labelled] = 0
    found = Targets(
        list(range(frames)), torch.zeros(frames, *size, 3), torch.zeros(frames, *size, dtype=torch.bool), labels,
        depth=torch.full((frames, *size), depth),
    )
    return clip, found


def test_the_way_into_the_contracted_space_and_back():
    clip = flow_clips.clip()
    points = torch.randn(200, 3) * torch.logspace(-1, 1.5, 200)[:, None]
    assert torch.allclose(clip.outer(clip.inner(points)), points, rtol=1e-3, atol=1e-3)


def test_places_before_what_is_seen_are_shown_and_those_behind_or_beside_are_not():
    clip, found = told([2])
    clip.places = shown_places(clip, found)
    assert clip.places.shape == (CELLS, CELLS, CELLS)
    camera = clip.camera(2)
    middle = torch.tensor([[clip.width / 2, clip.height / 2]]).expand(3, 2)
    points = camera.unproject(middle, torch.tensor([1.5, 2.7, 4.5]))
    assert clip.shows(points).tolist() == [True, True, False]
    assert not clip.shows((camera.center - 2 * camera.forward)[None]).any()
    outside = camera.unproject(torch.tensor([[-1.0 * clip.width, clip.height / 2]]), torch.tensor([2.0]))
    assert not clip.shows(outside).any()


def test_without_labels_or_depth_nothing_is_told_apart():
    clip, found = told([])
    assert not shown_places(clip, found).any()
    found.depth = None
    assert shown_places(clip, found).all()
