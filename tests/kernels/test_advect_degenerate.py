"""Advection of what a real program meets sooner or later: nothing, one of a kind, no numbers, far outside."""

import pytest
import torch
from semaflow.kernels.advect import inside, trajectories

from tests.reference import advect as oracle
from tests.reference.flows import BOX, gradients, random_case, small_network, turning
from tests.reference.gradients import assert_gradients_close

METHODS = ("euler", "midpoint", "rk4", "dopri5")
BOUNDARIES = ("clamp", "zero", "periodic")
NAN = float("nan")


@pytest.mark.parametrize("velocity", ["grid", "function"])
@pytest.mark.parametrize("method", METHODS)
def test_no_particles_and_one_time(method, velocity):
    points, times, grid = random_case(6)
    velocity = grid if velocity == "grid" else turning
    assert trajectories(points[:0], times, velocity, method, box=BOX).shape == (0, 5, 3)
    path = trajectories(points, times[:1], velocity, method, box=BOX)
    assert torch.equal(path, points[:, None])
    path.sum().backward()
    assert torch.equal(points.grad, torch.ones_like(points))
    if velocity is grid:
        assert float(grid.grad.abs().max()) == 0
        nothing = trajectories(points[:0], times, grid, method, box=BOX)
        assert float(torch.autograd.grad(nothing.sum(), grid)[0].abs().max()) == 0


@pytest.mark.parametrize("velocity", ["grid", "function"])
@pytest.mark.parametrize("method", ["rk4", "dopri5"])
@pytest.mark.parametrize("bad", [NAN, float("inf"), -float("inf")])
def test_particles_that_are_no_numbers_stay_alone(bad, method, velocity):
    points, times, grid = (x.detach() for x in random_case(20))
    network = small_network()
    bad_points = points.clone()
    bad_points[11, 1] = bad
    keep = torch.arange(20) != 11
    learned = [grid.requires_grad_(True)] if velocity == "grid" else list(network.parameters())
    velocity = grid if velocity == "grid" else network
    path = trajectories(bad_points, times, velocity, method, box=BOX)
    clean = trajectories(points[keep], times, velocity, method, box=BOX)
    exact = velocity is grid
    torch.testing.assert_close(path[keep], clean, rtol=0, atol=0 if exact else 1e-6)
    assert path[11, 1:].isnan().all()
    assert float(path.detach()[11, 0, 1]) == bad or bad != bad
    ours = torch.autograd.grad(path[keep].sum(), learned)
    theirs = torch.autograd.grad(clean.sum(), learned)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9 if exact else 1e-5, atol=1e-9 if exact else 1e-5)
    assert not inside(path.detach(), times, BOX)[11].any()


@pytest.mark.parametrize("value", [NAN, 1e38, -1e38])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_velocities_that_are_no_numbers_harm_only_who_meets_them(boundary, value):
    points = torch.tensor([[-0.9, -0.9, -0.9], [0.9, 0.9, 0.9]], dtype=torch.float64)
    times = torch.linspace(0, 1, 4, dtype=torch.float64)
    grid = torch.full((2, 9, 9, 9, 3), 0.1, dtype=torch.float64)
    grid[:, 7:, 7:, 7:] = value
    grid.requires_grad_(True)
    path = trajectories(points, times, grid, box=[[-1.0] * 3, [1.0] * 3], boundary=boundary)
    torch.testing.assert_close(path[0].detach(), points[0] + 0.1 * times[:, None])
    path[0].sum().backward()
    assert torch.isfinite(grid.grad).all()
    assert float(grid.grad.sum()) == pytest.approx(3 * float(times.sum()), rel=1e-9)


def test_incoming_gradients_that_are_no_numbers_harm_only_their_particle():
    points, times, grid = random_case()
    path = trajectories(points, times, grid, box=BOX)
    weights = torch.ones_like(path)
    expected = torch.autograd.grad(path, points, weights, retain_graph=True)[0]
    weights[3, -1, 0] = NAN
    v_points, v_grid = torch.autograd.grad(path, (points, grid), weights)
    keep = torch.arange(len(points)) != 3
    assert torch.equal(v_points[keep], expected[keep])
    assert v_points[3].isnan().any()
    assert torch.isfinite(v_grid).all()


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 2, 2, 2), (3, 1, 4, 1), (2, 2, 1, 2)], ids=str)
def test_thin_grids(shape, boundary):
    """One node along an axis: constant along it, wherever the point."""
    g = torch.Generator().manual_seed(0)
    points, times, _ = random_case(10)
    grid = torch.randn(*shape, 3, generator=g, dtype=torch.float64).requires_grad_(True)
    inputs = (points, times, grid)
    path = trajectories(*inputs, box=BOX, boundary=boundary)
    expected = oracle.trajectories(*inputs, box=BOX, boundary=boundary)
    torch.testing.assert_close(path, expected, rtol=1e-9, atol=1e-9)
    for a, b in zip(gradients(path, inputs), gradients(expected, inputs), strict=True):
        assert_gradients_close(a, b, 1e-8)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_points_far_outside(boundary):
    points = torch.tensor([[1e6, 0, 0], [0, -1e12, 0], [1e300, 1e300, 1e300]], dtype=torch.float64)
    _, times, grid = random_case()
    path = trajectories(points, times, grid, box=BOX, boundary=boundary)
    assert torch.isfinite(path).all()
    if boundary == "zero":
        assert torch.equal(path, points[:, None].expand(-1, 5, -1))
    path.sum().backward()
    assert torch.isfinite(grid.grad).all()


def test_inside_tells_where_the_flow_is_known():
    times = torch.tensor([-0.1, 0.0, 0.5, 1.0, 1.1])
    path = torch.zeros(2, 5, 3)
    path[1, 2] = torch.tensor([0.0, 1.3, 0.0])
    path[1, 3] = torch.tensor([1.0, 1.2, -1.0])
    assert inside(path, times, BOX).tolist() == [[False, True, True, True, False], [False, True, False, True, False]]


def test_inputs_of_other_kinds():
    """Half precision, integers as times, strided views, boxes as tensors; inputs are not written to."""
    points, times, grid = (x.detach() for x in random_case())
    kept = [x.clone() for x in (points, times, grid)]
    path = trajectories(points, times, grid, box=torch.tensor(BOX, dtype=torch.float64))
    again = trajectories(
        points.T.contiguous().T, times[:, None].repeat(1, 2)[:, 0], grid.transpose(1, 3).contiguous().transpose(1, 3),
        box=BOX,
    )  # fmt: skip
    assert torch.equal(path, again)
    assert all(torch.equal(a, b) for a, b in zip(kept, (points, times, grid), strict=True))
    half = trajectories(points.half(), torch.tensor([0, 1]), grid.half(), box=BOX)
    assert half.dtype == torch.float32
    assert half.shape == (24, 2, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": torch.zeros(3)}, r"points: expected shape \[any, 3\], got \[3\]"),
        ({"times": torch.zeros(0)}, "times: expected shape"),
        ({"times": torch.tensor([0.0, 1.0, 0.5])}, "times: expected finite numbers that increase or decrease"),
        ({"times": torch.tensor([0.0, NAN])}, "times: expected finite numbers"),
        ({"velocity": torch.zeros(2, 2, 2, 3)}, "velocity: expected a function or a grid"),
        ({"velocity": torch.zeros(0, 2, 2, 2, 3)}, "velocity: expected a function or a grid"),
        ({"method": "heun"}, "method: expected one of euler, midpoint, rk4, dopri5, got 'heun'"),
        ({"steps": 0}, "steps: expected a positive integer, got 0"),
        ({"rtol": 0.0}, "rtol: expected a positive number"),
        ({"box": None}, "box: a velocity grid needs"),
        ({"box": [[0, 0, 0], [1, 0, 1]]}, "box: expected a lower and an upper corner"),
        ({"span": (1.0, 1.0)}, "span: expected a first and a later last time"),
        ({"boundary": "mirror"}, "boundary: expected one of clamp, zero, periodic, got 'mirror'"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    arguments = {
        "points": torch.zeros(2, 3), "times": torch.tensor([0.0, 1.0]), "velocity": torch.zeros(1, 2, 2, 2, 3),
        "box": BOX,
    } | change  # fmt: skip
    with pytest.raises(ValueError, match=message):
        trajectories(**arguments)
