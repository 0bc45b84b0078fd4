"""Pixels of known depth at single places: where these lie, and the likelihood of a ray's end."""

import dataclasses
import math

import pytest
import torch
from semaflow.fields.flow.losses import surfaced
from semaflow.fields.flow.losses.context import Context
from semaflow.fields.flow.surface import THICKNESS, draw_surface, unlikely
from semaflow.fields.flow.targets import Batch, Targets

from tests.reference import flow_clips


def drawn(count=4000, depth=2.0):
    """A clip, its targets with one depth everywhere, and pixels drawn of its second frame."""
    clip = flow_clips.clip()
    frames, height, width = len(clip.times), clip.height, clip.width
    places = torch.arange(frames * height * width, dtype=torch.float32).view(frames, height, width)
    color = torch.stack([places, places, places], -1)
    found = Targets(
        list(range(frames)), color, places > places.flatten()[places.numel() // 2], places.long() % 3,
        depth=torch.full_like(places, depth), still=torch.full_like(places, depth),
    )
    seen = draw_surface(clip, found, found.depth, found.known(1), count, torch.Generator().manual_seed(0))
    return clip, found, seen


def test_places_lie_on_the_pixels_rays_and_carry_what_the_pixels_show():
    clip, found, seen = drawn(60)
    places = seen.color[:, 0].long() - clip.height * clip.width
    pixels, depth = clip.camera(1).project(seen.at)
    assert torch.allclose(depth, torch.full_like(depth, 2.0), atol=1e-5)
    assert torch.allclose(pixels, torch.stack([places % clip.width, places // clip.width], -1) + 0.5, atol=1e-3)
    before, nearer = clip.camera(1).project(seen.before)
    assert torch.allclose(before, pixels, atol=1e-3)
    assert (nearer < 2.0).all() and (nearer >= clip.near - 1e-5).all()
    assert torch.equal(seen.label, seen.color[:, 0].long() % 3)


def test_one_place_on_the_way_stands_for_all_of_it():
    """An even density's integral over the way, on average."""
    clip, _, seen = drawn()
    lengths = (seen.at - clip.camera(1).center).norm(dim=-1)
    way = lengths * (1 - clip.near / 2.0) / clip.radius - THICKNESS
    assert float(seen.passed.mean()) == pytest.approx(float(way.mean()), rel=0.03)


def test_pixels_whose_depth_is_guessed_are_not_drawn():
    clip, found, _ = drawn(4)
    found.__dict__.pop("settled")
    found.sure = torch.zeros_like(found.moving)
    found.sure[1, 3, 4] = True
    seen = draw_surface(clip, found, found.depth, found.known(1)[:1], 20, torch.Generator())
    assert (seen.color[:, 0] == clip.height * clip.width + 3 * clip.width + 4).all()


def test_likelihood_by_hand():
    at, before, passed = torch.tensor([50.0, 0.0]), torch.tensor([2.0, 0.5]), torch.tensor([0.25, 4.0])
    found = unlikely(at, before, passed)
    assert float(found[0]) == pytest.approx(0.5 - math.log(1 - math.exp(-50 * THICKNESS)), rel=1e-5)
    assert math.isfinite(found[1]) and found[1] > 10  # nothing there: very unlikely, but not lost


def test_frames_of_which_no_depth_is_known_give_nothing():
    clip, found, _ = drawn(4)
    found.depth = found.still = torch.zeros_like(found.depth)
    found.__dict__.pop("settled", None)
    assert draw_surface(clip, found, found.depth, found.known(0), 10, torch.Generator()) is None


def test_where_a_video_goes_on_the_dynamic_branch_is_left_alone():
    clip, found, _ = drawn(4)
    field = flow_clips.field()
    batch = Batch(1, 1, 0.25, None, None, None, None, None, None, None, None, None)
    asked = [
        surfaced.moving_surface(Context(field, field.clips[0], batch, None, torch.Generator(), known))
        for known in (found, dataclasses.replace(found, frames=found.frames[:3]))
    ]
    assert asked[0] is not None and asked[1] is None
