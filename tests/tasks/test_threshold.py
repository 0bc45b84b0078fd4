"""The automatic threshold falls between an object's scores and the rest, however small it is."""

import pytest
import torch
from semaflow.tasks.threshold import automatic_threshold


def scores(background: int, object_: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    below = 0.1 + 0.1 * torch.randn(background, generator=generator)
    above = 0.92 + 0.02 * torch.randn(object_, generator=generator)
    return torch.cat([below, above])


@pytest.mark.parametrize("object_", [12, 100, 5_000, 60_000])
def test_cut_lies_between_the_modes_whatever_their_sizes(object_):
    values = scores(50_000, object_)
    cut = automatic_threshold(values)
    chosen = values >= cut
    assert chosen[50_000:].float().mean() > 0.99
    assert chosen[:50_000].float().mean() < 0.001


def test_unknown_and_opposite_gaussians_do_not_move_the_cut():
    values = scores(5_000, 200)
    cut = automatic_threshold(values)
    unknown = torch.cat([values, torch.full((3_000,), -1.0), -torch.rand(2_000)])
    assert automatic_threshold(unknown) == pytest.approx(cut, abs=0.05)


def test_equal_scores_are_all_selected():
    values = torch.full((10,), 0.7)
    assert (values >= automatic_threshold(values)).all()
    assert automatic_threshold(torch.zeros(0)) == 0.0
