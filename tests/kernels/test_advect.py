"""Trajectories through velocity grids and functions: against an oracle, exact flows, finite differences, scipy and
torchdiffeq; and points carried with Gaussians."""

import itertools

import pytest
import torch
from scipy.integrate import solve_ivp
from semaflow.kernels.advect import trajectories

from tests.reference import advect as oracle
from tests.reference.flows import BOX, gradients, random_case, small_network, turning
from tests.reference.gradients import assert_gradients_close, finite_differences

METHODS = ("euler", "midpoint", "rk4", "dopri5")
BOUNDARIES = ("clamp", "zero", "periodic")
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def grid_of(function, size=3, slices=2, dtype=torch.float64):
    """A grid over [-2, 2]^3 and times 0 to 1; exact where the function is linear in each of x, y, z and t."""
    axis = torch.linspace(-2, 2, size, dtype=dtype)
    x = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
    return torch.stack([function(t, x) for t in torch.linspace(0, 1, slices, dtype=dtype)])


def turned(points, times):
    angle = times + times**2
    x, y, z = points[:, None].unbind(-1)
    return torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos(), z + 0 * angle], -1)


def shear(t, x):
    """x' = t y, y' = z, z' = 0: a cubic in time."""
    return torch.stack([t * x[..., 1], x[..., 2], 0 * x[..., 0]], -1)


def sheared(points, times):
    x, y, z = points[:, None].unbind(-1)
    return torch.stack([x + y * times**2 / 2 + z * times**3 / 3, y + z * times, z + 0 * times], -1)


FLOWS = {"turning": (turning, turned), "shear": (shear, sheared)}
WIDE = {"box": [[-2.0] * 3, [2.0] * 3]}


def some_points(count=20, dtype=torch.float64):
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(3), dtype=dtype) - 0.5


# By hand.


def test_two_steps_by_hand():
    """One cell, velocity (x + t, 0, 1): Euler from x = 0.5, t = 0 with h = 0.5."""
    grid = torch.zeros(2, 2, 2, 2, 3)
    grid[:, 1, ..., 0] += 1
    grid[1, ..., 0] += 1
    grid[..., 2] = 1
    times = torch.tensor([0.0, 0.5, 1.0])
    path = trajectories(torch.tensor([[0.5, 0.5, 0.0]]), times, grid, "euler", box=[[0.0] * 3, [1.0] * 3])
    # 0.5 + 0.5 * 0.5 = 0.75, then 0.75 + 0.5 * (0.75 + 0.5) = 1.375
    assert path.tolist() == [[[0.5, 0.5, 0.0], [0.75, 0.5, 0.5], [1.375, 0.5, 1.0]]]


@pytest.mark.parametrize(("boundary", "expected"), [("clamp", 3.0), ("zero", 1.5), ("periodic", 2.5)])
def test_velocity_outside_by_hand(boundary, expected):
    """Nodes of velocity 1, 2, 3 at x = 0, 1, 2 (periodic: 0, 2/3, 4/3), looked up half a cell beyond the end."""
    grid = (1.0 + torch.arange(3.0))[None, :, None, None, None] * torch.tensor([0.0, 1.0, 0.0])
    x = 2.5 if boundary != "periodic" else 2 + 2 / 3 * 0.75 + 2 / 3  # 0.75 of the way from 2 to 3
    start = torch.tensor([[x, 0.0, 0.0]])
    path = trajectories(
        start, torch.tensor([0.0, 1.0]), grid, "euler", box=[[0.0, -1, -1], [2.0, 1, 1]], boundary=boundary
    )
    expected = 2.75 if boundary == "periodic" else expected
    assert float(path[0, 1, 1]) == pytest.approx(expected, rel=1e-5)


# Against the oracle.


@pytest.mark.parametrize(
    ("method", "boundary"), [*itertools.product(("euler", "midpoint", "rk4"), BOUNDARIES), ("dopri5", "clamp")]
)
def test_values_and_gradients_match_the_oracle(method, boundary):
    inputs = random_case()
    # Loose tolerances: where errors are as small as rounding, rounding decides how long steps are.
    options = {"box": BOX, "boundary": boundary, "rtol": 1e-2, "atol": 1e-2, "steps": 2}
    paths, expected = trajectories(*inputs, method, **options), oracle.trajectories(*inputs, method, **options)
    torch.testing.assert_close(paths, expected, rtol=1e-9, atol=1e-9)
    for name, ours, truth in zip(
        ("points", "times", "grid"), gradients(paths, inputs), gradients(expected, inputs), strict=True
    ):
        assert_gradients_close(ours, truth, 1e-7, name)


@pytest.mark.parametrize("device", DEVICES)
def test_single_precision_matches_the_oracle(device):
    """On a smooth flow: on rough ones the cell that rounding chooses decides the slope."""
    points, times = some_points(), torch.linspace(0, 1, 7, dtype=torch.float64)
    inputs = [x.requires_grad_(True) for x in (points, times, grid_of(turning, 9, 5))]
    expected = oracle.trajectories(*inputs, "rk4", **WIDE)
    truth = gradients(expected, inputs)
    ours = [x.detach().float().to(device).requires_grad_(True) for x in inputs]
    paths = trajectories(*ours, "rk4", **WIDE)
    torch.testing.assert_close(paths.cpu().double(), expected, rtol=1e-5, atol=1e-6)
    for name, gradient, exact in zip(("points", "times", "grid"), gradients(paths, ours), truth, strict=True):
        assert_gradients_close(gradient, exact, 2e-5, name)


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_gradients_match_finite_differences(method, which):
    g = torch.Generator().manual_seed(5)
    inputs = [
        some_points(2),
        torch.tensor([0.9, 0.6, 0.1], dtype=torch.float64),
        0.5 * torch.randn(2, 2, 2, 2, 3, generator=g, dtype=torch.float64),
    ]
    weights = torch.randn(2, 3, 3, generator=g, dtype=torch.float64)

    def loss(x):
        replaced = [x if i == which else y for i, y in enumerate(inputs)]
        return (trajectories(*replaced, method, rtol=1e-10, atol=1e-10, **WIDE) * weights).sum()

    x = inputs[which].clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(x), x)
    assert_gradients_close(gradient, finite_differences(loss, inputs[which], 1e-5), 1e-6)


# Laws.


@pytest.mark.parametrize("as_function", [False, True])
@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4), ("dopri5", 5)])
def test_order_of_convergence(method, order, flow, as_function):
    """Errors fall as steps^-order. Tolerances so loose that ``dopri5`` takes one step for each interval."""
    function, exact = FLOWS[flow]
    points = some_points()
    errors = []
    for intervals in (4, 8, 16):
        times = torch.linspace(0, 1, intervals + 1, dtype=torch.float64)
        velocity = function if as_function else grid_of(function)
        path = trajectories(points, times, velocity, method, rtol=1e9, atol=1e9, **WIDE)
        errors.append(float((path[:, -1] - exact(points, times[-1:])[:, 0]).norm()))
    if flow == "shear" and order >= 4:
        assert max(errors) < 1e-13, "a cubic is exact"
    else:
        for coarse, fine in zip(errors, errors[1:], strict=False):
            assert 2 ** (order - 0.35) < coarse / fine < 2 ** (order + 0.7), errors


@pytest.mark.parametrize("as_function", [False, True])
def test_adaptive_steps_keep_their_tolerance(as_function):
    points, times = some_points(), torch.tensor([0.0, 0.7, 1.0], dtype=torch.float64)
    velocity = turning if as_function else grid_of(turning)
    for tolerance in (1e-4, 1e-7, 1e-10):
        path = trajectories(points, times, velocity, "dopri5", rtol=tolerance, atol=tolerance, **WIDE)
        assert float((path - turned(points, times)).abs().max()) < 20 * tolerance


@pytest.mark.parametrize(
    ("method", "dtype"), [("rk4", torch.float32), ("rk4", torch.float64), ("dopri5", torch.float64)]
)
def test_there_and_back(method, dtype):
    """Times that decrease: back where it began, to 1e-5."""
    points, times = some_points(dtype=dtype), torch.linspace(0, 1, 25, dtype=dtype)
    grid = grid_of(turning, 5, 4, dtype)
    path = trajectories(points, times, grid, method, **WIDE)
    back = trajectories(path[:, -1], times.flip(0), grid, method, **WIDE)
    torch.testing.assert_close(back.flip(1), path, rtol=0, atol=1e-5)
    assert float((path[:, -1] - points).norm(dim=1).min()) > 0.01


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_particles_do_not_feel_each_other(method):
    """In any order, in any company: the same bits."""
    points, times, grid = random_case(50)
    path = trajectories(points, times, grid, method, box=BOX)
    shuffled = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(trajectories(points[shuffled], times, grid, method, box=BOX), path[shuffled])
    assert torch.equal(trajectories(points[7:8], times, grid, method, box=BOX), path[7:8])


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_moving_the_flow_and_its_particles_together_changes_nothing(method):
    """Carried along, and turned by a quarter about z with the axes of the grid."""
    points, times, grid = (x.detach() for x in random_case(20))
    tolerances = {"rtol": 1e-30, "atol": 1e-6}  # rtol is relative to where the origin is
    path = trajectories(points, times, grid, method, box=BOX, **tolerances)
    shift = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)

    def turned_by_a_quarter(x):
        return torch.stack([-x[..., 1], x[..., 0], x[..., 2]], -1)

    corners = turned_by_a_quarter(torch.tensor(BOX, dtype=torch.float64))
    box = torch.stack([corners.amin(0), corners.amax(0)]) + shift
    along = turned_by_a_quarter(grid.transpose(1, 2).flip(1))  # the new x axis is the old y axis, reversed
    moved = trajectories(turned_by_a_quarter(points) + shift, times, along, method, box=box, **tolerances)
    torch.testing.assert_close(moved, turned_by_a_quarter(path) + shift, rtol=0, atol=1e-6)


def test_many_particles_are_sorted_and_come_back_in_place():
    points, times, grid = (x.detach() for x in random_case(3000))
    path = trajectories(points, times, grid, box=BOX)
    assert torch.equal(path[-5:], trajectories(points[-5:], times, grid, box=BOX))
    assert torch.equal(path[:, 0], points)


def test_steps_within_intervals_are_kept_where_needed_only():
    points, times, grid = random_case()
    with torch.no_grad():
        path = trajectories(points, times, grid, "rk4", steps=3, box=BOX)
    assert torch.equal(path, trajectories(points, times, grid, "rk4", steps=3, box=BOX))
    fine = torch.cat([a + (b - a) * torch.arange(3) / 3 for a, b in zip(times, times[1:], strict=False)] + [times[-1:]])
    torch.testing.assert_close(path, trajectories(points, fine, grid, "rk4", box=BOX)[:, ::3])


@pytest.mark.parametrize("growth", [-40.0, 40.0])
def test_gradients_that_grow_or_shrink_out_of_sight(growth):
    """exp(40) and its inverse: far beyond what sums of gradients are first scaled for."""
    grid = grid_of(lambda t, x: growth * x).requires_grad_(True)
    points = 1e-3 * some_points(5)
    points = points * (1e-18 if growth > 0 else 1.0)
    times = torch.linspace(0, 1, 41, dtype=torch.float64)
    inputs = (points.requires_grad_(True), grid)
    ours = torch.autograd.grad(trajectories(points, times, grid, **WIDE)[:, -1].sum(), inputs)
    truth = torch.autograd.grad(oracle.trajectories(points, times, grid, **WIDE)[:, -1].sum(), inputs)
    for a, b in zip(ours, truth, strict=True):
        assert_gradients_close(a, b, 1e-6)


# What others compute.


def test_agrees_with_scipy():
    """Through a rough grid with clamped ends, where each kink costs both of them some of their tolerance."""
    points, times, grid = (x.detach() for x in random_case(2))
    span = torch.linspace(0.1, 1.0, 5, dtype=torch.float64)
    path = trajectories(points, span, grid, "dopri5", rtol=1e-9, atol=1e-9, box=BOX)
    for point, ours in zip(points, path, strict=True):

        def velocity(t, x):
            t = torch.tensor([t], dtype=torch.float64)
            return oracle.velocity(grid, t, torch.from_numpy(x)[None], BOX)[0].numpy()

        found = solve_ivp(velocity, (0.1, 1.0), point.numpy(), "RK45", span.numpy(), rtol=1e-9, atol=1e-9, max_step=0.1)
        torch.testing.assert_close(ours, torch.from_numpy(found.y.T.copy()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_agrees_with_torchdiffeq(method):
    """The same function, the same call; with a grid, the same steps. Gradients in the start and in parameters too."""
    odeint = pytest.importorskip("torchdiffeq").odeint
    network = small_network()
    points, times = some_points().requires_grad_(True), torch.linspace(1, 0, 6, dtype=torch.float64)
    inputs = (points, *network.parameters())
    options = {"rtol": 1e-7, "atol": 1e-9}
    ours = trajectories(points, times, network, method, **options)
    theirs = odeint(network, points, times, method=method, **options).transpose(0, 1)
    tolerance = 1e-6 if method == "dopri5" else 1e-12
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    for a, b in zip(gradients(ours, inputs), gradients(theirs, inputs), strict=True):
        assert_gradients_close(a, b, 10 * tolerance)
    if method == "dopri5":
        return
    grid = random_case()[2].detach()

    def velocity(t, x):
        return oracle.velocity(grid, t.expand(len(x)), x, BOX)

    path = trajectories(points, times, grid, method, box=BOX)
    theirs = odeint(velocity, points, times, method=method).transpose(0, 1)
    torch.testing.assert_close(path, theirs, rtol=1e-10, atol=1e-10)


# Functions.


def test_a_network_is_called_for_all_particles_at_a_time():
    network, points = small_network(), some_points()
    times = torch.linspace(0, 1, 4, dtype=torch.float64)
    trajectories(points, times[:2], network, "euler")
    assert network.calls == 1
    assert network.seen.data_ptr() == points.data_ptr(), "the points themselves, not a copy"
    network.calls = 0
    trajectories(points, times, network, "rk4", steps=2)
    assert network.calls == 3 * 2 * 4


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_gradients_through_a_network_match_finite_differences(method):
    network, points = small_network(), some_points(3)
    times = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    weights = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bias = network[0].bias

    def loss(points, times):
        return (trajectories(points, times, network, method, rtol=1e-9, atol=1e-9) * weights).sum()

    p, t = points.clone().requires_grad_(True), times.clone().requires_grad_(True)
    v_points, v_times, v_bias = torch.autograd.grad(loss(p, t), (p, t, bias))
    with torch.no_grad():
        assert_gradients_close(v_points, finite_differences(lambda x: loss(x, times), points, 1e-5), 1e-6)
        assert_gradients_close(v_times, finite_differences(lambda x: loss(points, x), times, 1e-5), 1e-6)
        kept = bias.clone()

        def of_bias(x):
            bias.copy_(x)
            return loss(points, times)

        assert_gradients_close(v_bias, finite_differences(of_bias, kept, 1e-5), 1e-6)


def test_a_function_that_runs_wild_says_so():
    with pytest.raises(RuntimeError, match="velocity: more than 50 trial steps"):
        trajectories(
            some_points(2), torch.tensor([0.0, 1.0]), lambda t, x: torch.sin(1e7 * x) * 1e4, "dopri5", trials=50
        )
