"""Worlds filmed again with something changed: all else must be as it was."""

import dataclasses

import pytest
import torch
from semaflow.scenes import BadInput, simulate
from torch.nn.functional import max_pool2d

from tests.reference.worlds import built

OPTIONS = {"frames": 5, "test": 1, "width": 96, "height": 54, "teacher": "dense"}
FRAME = 2


def grown(mask):
    """The mask [H, W] and its neighbours: pixels that may hold a part of what is in the mask."""
    return max_pool2d(mask[None, None].float(), 3, 1, 1)[0, 0] > 0


@pytest.fixture(scope="module")
def balls():
    return built("balls")


@pytest.fixture(scope="module")
def before(balls):
    return simulate(balls, **OPTIONS)


def ball(frame, scene, name="red ball"):
    return frame.label == scene.label_names.index(name)


def test_a_removed_body_is_gone_and_all_else_as_before(balls, before):
    scene = simulate(balls, without="red ball", **OPTIONS)
    frame, old = scene.frames[FRAME], before.frames[FRAME]
    assert scene.label_names == before.label_names
    assert ball(old, before).sum() > 300
    assert not ball(frame, scene).any()
    assert before.label_names.index("red ball") not in scene.tracks.label.tolist()

    outside = ~ball(old, before)
    for layer in ("label", "instance", "part", "depth", "features", "flow_forward"):
        assert torch.equal(getattr(frame, layer)[outside], getattr(old, layer)[outside])
    # Beyond its outline only its shadow is gone, which lets light in.
    clear = ~grown(ball(old, before))
    change = (frame.image - old.image)[clear].amin(-1)
    assert change.min() > -1e-5
    assert (change.abs() < 1e-5).float().mean() > 0.85
    for kept in before.tracks.label.unique().tolist():
        if kept != before.label_names.index("red ball"):
            one, other = (s.tracks.positions[s.tracks.label == kept] for s in (scene, before))
            if before.label_names[kept].endswith("ball"):
                assert torch.equal(one, other)


def test_a_moved_body_is_elsewhere_at_all_times(balls, before):
    offset = torch.tensor([-0.1, 0.2, 0.3])
    scene = simulate(balls.moved("green ball", offset.tolist()), **OPTIONS)
    green = before.label_names.index("green ball")
    one, other = (s.tracks.positions[s.tracks.label == green] for s in (scene, before))
    torch.testing.assert_close(one, other + offset, atol=1e-5, rtol=0)
    frame, old = scene.frames[FRAME], before.frames[FRAME]
    moved = ball(frame, scene, "green ball")
    assert moved.sum() > 150
    assert (moved & ball(old, before, "green ball")).sum() < 0.7 * moved.sum()


def test_a_recoloured_body_keeps_its_shape_and_the_rest_its_colours(balls, before):
    scene = simulate(balls.recoloured("red ball", (0.1, 0.8, 0.8)), **OPTIONS)
    frame, old = scene.frames[FRAME], before.frames[FRAME]
    for layer in ("depth", "label", "features"):
        assert torch.equal(getattr(frame, layer), getattr(old, layer))
    red = ball(old, before)
    assert torch.equal(frame.image[~grown(red)], old.image[~grown(red)])
    inside = ~grown(~red)
    assert (old.image[inside].mean(0).argmax(), frame.image[inside].mean(0).argmin()) == (0, 0)


def test_editing_leaves_the_world_as_it_was(balls):
    names = [body.name for body in balls.bodies]
    balls.without("red ball").moved("blue ball", (1, 0, 0)).recoloured("cone", (0, 0, 0))
    assert [body.name for body in balls.bodies] == names
    assert balls.body("cone").colors != ((0, 0, 0),)


def test_a_body_that_is_not_there_is_named(balls):
    for edit in (
        lambda: balls.without("moon"),
        lambda: balls.moved("moon", (0, 0, 1)),
        lambda: balls.recoloured("moon", (0, 0, 1)),
    ):
        with pytest.raises(BadInput, match="balls: no body 'moon'; there are floor, "):
            edit()


def test_twins_look_alike_and_are_told_apart_by_class_alone():
    twins = built("twins")
    moving, resting = twins.body("moving cube"), twins.body("resting cube")
    in_its_place = dataclasses.replace(resting, motion=moving.motion)
    first = twins.without("resting cube")
    others = tuple(body for body in twins.bodies if body not in (moving, resting))
    second = dataclasses.replace(twins, bodies=(*others, in_its_place))
    scenes = [simulate(twin, **OPTIONS) for twin in (first, second)]
    one, other = (scene.frames[FRAME] for scene in scenes)
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.features, other.features)
    assert torch.equal(one.depth, other.depth)
    cube = one.label == twins.labels.index("moving cube")
    assert cube.sum() > 200
    assert (other.label[cube] == twins.labels.index("resting cube")).all()

    tracks = simulate(twins, **OPTIONS).tracks
    travel = (tracks.positions - tracks.positions[:, :1]).norm(dim=-1).amax(1)
    still = tracks.label == twins.labels.index("resting cube")
    assert still.sum() >= 200
    assert travel[still].max() < 1e-6
    assert travel[tracks.label == twins.labels.index("moving cube")].min() > 0.5
