"""Contrast tells a thing from everything else, whole or in part, where one cosine cannot."""

import pytest
import torch
from semaflow.scenes import BadInput
from semaflow.tasks.likeness import Likeness, cosine
from semaflow.tasks.prototypes import prototypes

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


def test_a_query_from_between_two_parts_is_of_the_nearer_one():
    table, kind, features = world()
    mixed = torch.nn.functional.normalize(0.6 * table[0] + 0.4 * table[1], dim=0)
    assert table[1] @ mixed > 0.8
    chosen = Likeness(features).contrast(mixed, "part") > 0
    assert (chosen == (kind == 0)).float().mean() > 0.98


def test_whole_reaches_parts_that_are_unlike_the_one_asked_for():
    axes = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0)))[0]
    middle = [0.85 * axes[0] + 0.53 * axes[k] for k in (1, 2, 3)]
    ends = [0.6 * axes[0] + 0.8 * axes[k] for k in (4, 5)]
    table = torch.nn.functional.normalize(torch.stack([*middle, *ends, *axes[6:12]]), dim=-1)
    kind = torch.arange(11).repeat_interleave(100)
    features = table[kind] + 0.02 * torch.randn(1100, 16, generator=torch.Generator().manual_seed(1))
    assert table[3] @ table[4] < 0.4
    assert torch.equal(Likeness(features).contrast(table[3], "whole") > 0, kind < 5)


@pytest.mark.parametrize("seed", range(3))
def test_prototypes_are_things_and_not_their_borders(seed):
    table, _, features = world(seed)
    share = torch.rand(200, 1, generator=torch.Generator().manual_seed(seed))
    border = share * table[4] + (1 - share) * table[5]
    found = prototypes(torch.cat([features, border]))
    assert ((table @ found.T).amax(1) > 0.95).all()
    assert ((table @ found.T).amax(0) > 0.9).all()


def test_prototypes_leave_out_what_is_not_known():
    table, _, features = world()
    assert torch.equal(prototypes(torch.cat([features, torch.zeros(50, 16)])).norm(dim=1) > 0.99, torch.ones(9).bool())


@pytest.mark.parametrize("seed", range(3))
def test_single_mistaken_features_are_no_prototypes(seed):
    """One wrong feature under the click would otherwise be a thing of its own."""
    table, kind, features = world(seed)
    stray = torch.nn.functional.normalize(torch.randn(30, 16, generator=torch.Generator().manual_seed(seed)), dim=-1)
    likeness = Likeness(torch.cat([features, 0.7 * table[kind[::30]] + 0.7 * stray]))
    assert len(likeness.prototypes) == len(table)
    query = 0.6 * table[1] + 0.4 * likeness.features[900 + 4]  # the fifth mistake lies among kind 1
    part = likeness.contrast(query, "part")[:900] > 0
    assert (part == (kind == 1)).float().mean() > 0.98
