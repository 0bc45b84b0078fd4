"""Points carried with Gaussians: exact for rigid motion, each body by its own."""

from types import SimpleNamespace

import pytest
import torch
from semaflow.kernels.advect import carry

from tests.reference import carry as oracle
from tests.reference.gradients import assert_gradients_close, finite_differences
from tests.reference.splat import rotations

NAN = float("nan")


def cloud(count=60, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    means, quats = torch.randn(2, count, 4, generator=g, dtype=dtype)
    return SimpleNamespace(means=means[:, :3].contiguous(), quats=3 * quats)


def product(p, q):
    """Of quaternions, the right one first."""
    a, b, c, d = p.unbind(-1)
    w, x, y, z = q.unbind(-1)
    return torch.stack(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ],
        -1,
    )


def moved(state, quat, shift):
    """The state after a rotation about the origin and a shift."""
    means = state.means @ rotations(quat).T + shift
    return SimpleNamespace(means=means, quats=product(quat.expand_as(state.quats), state.quats))


TURN = torch.tensor([0.8, -0.3, 0.5, 0.2], dtype=torch.float64)
SHIFT = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)


@pytest.mark.parametrize("neighbors", [1, 8, 200])
@pytest.mark.parametrize("count", [1, 3, 60])
def test_rigid_motion_is_exact(count, neighbors):
    state, points = cloud(count), 2 * torch.randn(30, 3, dtype=torch.float64)
    ours = carry(points, state, moved(state, TURN, SHIFT), neighbors)
    torch.testing.assert_close(ours, points @ rotations(TURN).T + SHIFT, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("neighbors", [2, 8])
def test_values_and_gradients_match_the_oracle(neighbors):
    """Where Gaussians go their own ways."""
    before, after = cloud(seed=1), cloud(seed=2)
    fields = (before.means, before.quats, after.means, after.quats)
    inputs = [x.requires_grad_(True) for x in (torch.randn(10, 3, dtype=torch.float64), *fields)]
    ours, expected = carry(inputs[0], before, after, neighbors), oracle.carry(*inputs, neighbors)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)  # neighbours' distances are float32
    g = torch.randn_like(ours)
    names = ("points", "means_a", "quats_a", "means_b", "quats_b")
    pairs = zip(names, *(torch.autograd.grad(x, inputs, g) for x in (ours, expected)), strict=True)
    for name, gradient, truth in pairs:
        assert_gradients_close(gradient, truth, 1e-6, name)


def test_order_of_gaussians_does_not_matter():
    before, after, points = cloud(seed=3), cloud(seed=4), torch.randn(20, 3, dtype=torch.float64)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    shuffled = [SimpleNamespace(means=x.means[order], quats=x.quats[order]) for x in (before, after)]
    torch.testing.assert_close(carry(points, *shuffled), carry(points, before, after), rtol=1e-12, atol=1e-12)


def test_rigid_motion_in_single_precision():
    state, points = cloud(dtype=torch.float32), torch.randn(30, 3)
    after = moved(state, TURN.float(), SHIFT.float())
    torch.testing.assert_close(
        carry(points, state, after), points @ rotations(TURN.float()).T + SHIFT.float(), rtol=1e-5, atol=2e-6
    )


def test_one_gaussian_by_hand():
    """A quarter turn about z around (1, 0, 0), which moves to (1, 0, 2): (2, 0, 0) goes to (1, 1, 2)."""
    before = SimpleNamespace(means=torch.tensor([[1.0, 0, 0]]), quats=torch.tensor([[1.0, 0, 0, 0]]))
    after = SimpleNamespace(means=torch.tensor([[1.0, 0, 2]]), quats=torch.tensor([[1.0, 0, 0, 1]]))
    ours = carry(torch.tensor([[2.0, 0, 0]]), before, after)
    torch.testing.assert_close(ours, torch.tensor([[1.0, 1, 2]]))


def test_two_bodies_part():
    """Points on either of two touching bodies go with theirs, though some of the neighbours are the other's."""
    g = torch.Generator().manual_seed(0)
    left, right = torch.rand(2, 200, 3, generator=g) - torch.tensor([[[1.0, 0, 0]], [[0.0, 0, 0]]])
    quats = torch.tensor([1.0, 0, 0, 0]).expand(400, 4)
    before = SimpleNamespace(means=torch.cat([left, right]), quats=quats)
    step = torch.tensor([0.0, 0.0, 1.0])
    after = SimpleNamespace(means=torch.cat([left, right + step]), quats=quats)
    points = torch.cat([left, right]) + 0.01
    expected = points + step * (torch.arange(400)[:, None] >= 200)
    error = (carry(points, before, after) - expected).norm(dim=1)
    assert float((error < 0.2).double().mean()) > 0.93
    assert float((error < 0.01).double().mean()) > 0.7


def test_gradients_match_finite_differences():
    """In points and in the second state's means and quaternions, with one neighbour: weights are held constant."""
    state, points = cloud(5), torch.randn(3, 3, dtype=torch.float64)
    after = moved(state, TURN, SHIFT)
    weights = torch.randn(3, 3, dtype=torch.float64)

    def loss(points, means, quats):
        return (carry(points, state, SimpleNamespace(means=means, quats=quats), 1) * weights).sum()

    inputs = [x.clone().requires_grad_(True) for x in (points, after.means, after.quats)]
    ours = torch.autograd.grad(loss(*inputs), inputs)
    for i, gradient in enumerate(ours):

        def of_one(x, i=i):
            return loss(*(x if j == i else y.detach() for j, y in enumerate(inputs)))

        assert_gradients_close(gradient, finite_differences(of_one, inputs[i].detach(), 1e-6), 1e-6)


def test_gradient_of_a_rigid_motion_is_its_rotation():
    state, points = cloud(), torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    after = moved(state, TURN, SHIFT)
    (gradient,) = torch.autograd.grad(carry(points, state, after)[:, 1].sum(), points)
    torch.testing.assert_close(gradient, rotations(TURN)[1].expand(6, 3))


def test_what_is_no_number_is_left_out():
    state, points = cloud(), torch.randn(10, 3, dtype=torch.float64)
    after = moved(state, TURN, SHIFT)
    expected = points @ rotations(TURN).T + SHIFT
    state.means[3, 1], state.quats[4, 0], after.means[5, 2], after.quats[6] = NAN, NAN, NAN, NAN
    torch.testing.assert_close(carry(points, state, after), expected)
    points[2] = NAN
    ours = carry(points, state, after)
    assert ours[2].isnan().all()
    torch.testing.assert_close(ours[3:], expected[3:])


def test_nobody_there():
    state = cloud(0)
    points = torch.randn(4, 3, dtype=torch.float64)
    assert torch.equal(carry(points, state, state), points)
    assert carry(points[:0], cloud(5), cloud(5)).shape == (0, 3)


def test_coinciding_points_and_gaussians():
    state = SimpleNamespace(means=torch.zeros(20, 3), quats=torch.zeros(20, 4))
    after = SimpleNamespace(means=torch.ones(20, 3), quats=torch.zeros(20, 4))
    points = torch.tensor([[0.0, 0, 0], [0.5, 0, 0]], requires_grad=True)
    ours = carry(points, state, after)
    torch.testing.assert_close(ours, points + 1)
    ours.sum().backward()
    torch.testing.assert_close(points.grad, torch.ones(2, 3))


@pytest.mark.parametrize(
    ("points", "count", "neighbors", "message"),
    [
        (torch.zeros(3), 5, 8, "points: expected shape"),
        (torch.zeros(2, 3), 4, 8, r"state_b.means: expected shape \[5, 3\]"),
        (torch.zeros(2, 3), 5, 0, "neighbors: must be positive"),
    ],
)
def test_what_is_wrong_is_named(points, count, neighbors, message):
    with pytest.raises(ValueError, match=message):
        carry(points, cloud(5), cloud(count), neighbors)
