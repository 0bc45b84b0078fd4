"""Contrast tells a thing from everything else, whole or in part, where one cosine cannot."""

import pytest
import torch
from semaflow.scenes import BadInput
from semaflow.tasks.likeness import Likeness, cosine, spherical_means

from tests.tasks.doubles import BLUE, FLOOR, RED, BallsField


def world(seed: int = 0):
    """Features of a figure of three parts that are somewhat alike, and of six unrelated things."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(16, 16, generator=generator))[0]
    parts = [axes[0] + axes[k] for k in (1, 2, 3)]
    table = torch.nn.functional.normalize(torch.stack([*parts, *axes[4:10]]), dim=-1)
    kind = torch.arange(9).repeat_interleave(100)
    features = table[kind] + 0.05 * torch.randn(900, 16, generator=generator)
    return table, kind, features


@pytest.mark.parametrize("seed", range(3))
def test_whole_takes_all_parts_and_part_takes_one(seed):
    table, kind, features = world(seed)
    likeness = Likeness(features)
    whole = likeness.contrast(table[1], "whole") > 0
    part = likeness.contrast(table[1], "part") > 0
    assert (whole == (kind < 3)).float().mean() > 0.98
    assert (part == (kind == 1)).float().mean() > 0.98


def test_border_between_two_things_is_half_way():
    table, kind, features = world()
    share = torch.linspace(0, 1, 101)
    mixed = share[:, None] * table[4] + (1 - share[:, None]) * table[5]
    scores = Likeness(mixed, Likeness(features).prototypes).contrast(table[4])
    assert ((scores > 0) == (share > 0.5))[(share - 0.5).abs() > 0.05].all()


def test_features_with_a_large_common_part_are_told_apart_too():
    """Cosines of networks that were not centred all lie near 1."""
    table, kind, features = world()
    common = 2.0 * torch.nn.functional.normalize(torch.ones(16), dim=0)
    likeness = Likeness(features + common)
    assert likeness.cosine(table[4] + common).min() > 0.5
    assert torch.equal(likeness.contrast(table[4] + common, "part") > 0, kind == 4)


def test_unknown_features_are_never_selected():
    table, kind, features = world()
    features[:50] = 0
    likeness = Likeness(features)
    assert (likeness.cosine(table[0])[:50] == -1).all()
    assert (likeness.contrast(table[0])[:50] == -1).all()
    assert not likeness.cosine(table)[:50].isnan().any()


def test_smoothing_takes_noise_away_and_leaves_borders():
    noisy = BallsField(noise=0.25)
    raw, smooth = Likeness(noisy.features), Likeness.of(noisy)
    for body in (FLOOR, RED, BLUE):
        query = noisy.table[body]
        mine = noisy.body == body
        assert smooth.cosine(query)[mine].mean() > raw.cosine(query)[mine].mean() + 0.05
        assert smooth.cosine(query)[~mine].mean() < 0.25


def test_unknown_grain_and_foreign_query():
    table, _, features = world()
    with pytest.raises(BadInput, match="grain: expected whole or part, got 'half'"):
        Likeness(features).contrast(table[0], "half")
    with pytest.raises(BadInput, match="it has 7 channels, the field's features have 16"):
        cosine(features, torch.ones(7))


def test_a_field_of_one_thing_is_selected_whole():
    features = torch.tensor([[1.0, 0.0]]).repeat(20, 1)
    assert (Likeness(features).contrast(torch.tensor([1.0, 0.0])) > 0).all()


def test_prototypes_cover_every_thing():
    table, _, features = world()
    unit = torch.nn.functional.normalize(features, dim=-1)
    centers = spherical_means(unit, 12, torch.Generator().manual_seed(0))
    assert ((table @ centers.T).amax(1) > 0.95).all()
