"""Which places labelled pictures show, and how others are classified."""

import torch
from semaflow.fields.flow.render import Rays, trace
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


def test_what_no_labelled_picture_shows_is_classified_by_features_when_rendered_and_not_while_learning():
    field = flow_clips.field()
    clip, camera = field.clip, field.clip.camera(2)
    center, directions = camera.rays()
    rays = Rays(center.expand(96, 3), directions.reshape(-1, 3))
    known = trace(field, clip, rays, 0.5).static.logits
    learning = trace(field, clip, rays, 0.5, torch.Generator().manual_seed(0)).static.logits
    clip.places = torch.zeros(1, 1, 1, dtype=torch.bool)
    traced = trace(field, clip, rays, 0.5)
    changed = (traced.static.logits != known).any(-1)
    assert changed.float().mean() > 0.5
    points = traced.points.view(-1, 3)[changed]
    frames = clip.watching(points, 0.5)
    at_once = frames == clip.frame(0.5)
    paths, shown = field.flow(clip, points[at_once], 0.5)
    code = field.flow_code(paths, points[at_once], 0.5, clip, shown)
    told = field.dynamic.classify(code, torch.zeros(len(code), field.config.width))
    assert at_once.any() and torch.allclose(traced.static.logits[changed][at_once], told, atol=1e-5)
    again = trace(field, clip, rays, 0.5, torch.Generator().manual_seed(0)).static.logits
    assert torch.equal(again, learning)


def test_places_are_looked_at_in_the_frame_nearest_in_time_that_has_them_in_view():
    clip = flow_clips.clip()
    left = clip.camera(0).unproject(torch.tensor([[0.2, 4.0]]), torch.tensor([2.0]))
    points = torch.cat([torch.zeros(1, 3), left, torch.tensor([[0.0, -50.0, 0.0]])])
    inside = [bool(((p >= 0) & (p < clip.size)).all()) for p in (clip.camera(k).project(left)[0][0] for k in range(5))]
    assert inside[0] and not inside[4]
    nearest = max(k for k in range(5) if inside[k])
    assert clip.watching(points, 1.0).tolist() == [4, nearest, 4]
    clip.seen[4] = False
    assert clip.watching(points, 1.0).tolist() == [3, nearest, 3]
