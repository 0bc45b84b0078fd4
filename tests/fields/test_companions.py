"""Which Gaussians belong together, and codes solved with that knowledge."""

import pytest
import torch
from semaflow.fields.gaussians.companions import companions, symmetric
from semaflow.fields.gaussians.semantics import conjugate_gradients

from tests.tasks.doubles import BLUE, FLOOR, RED, BallsField


@pytest.fixture(scope="module")
def field():
    return BallsField()


def test_what_moves_apart_or_is_of_another_colour_does_not_belong_together(field):
    ids, weights = companions([field.at(time) for time in (0.0, 0.5, 1.0)])
    other = field.body[ids] != field.body[:, None]
    assert other.any() and weights[other].max() < 0.01
    for body in (FLOOR, RED, BLUE):
        mine = (field.body == body)[:, None] & ~other
        assert weights[mine].mean() > 0.3
    assert (ids != torch.arange(field.count)[:, None]).all()


def test_symmetric_links_are_half_from_either_end():
    ids, weights = torch.tensor([[1], [2], [1]]), torch.tensor([[1.0], [0.5], [0.25]])
    dense = symmetric(ids, weights).to_dense()
    assert torch.equal(dense, torch.tensor([[0, 0.5, 0], [0.5, 0, 0.375], [0, 0.375, 0]]))


def test_conjugate_gradients_solve_each_column():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    matrix = root @ root.T + torch.eye(12, dtype=torch.float64)
    wanted = torch.randn(12, 3, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 100.0, 0.0])
    found = conjugate_gradients(lambda x: matrix @ x, matrix @ wanted, matrix.diagonal()[:, None], 12)
    assert torch.allclose(found, wanted, atol=1e-6)
