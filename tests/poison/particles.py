"""Poisoned particles, velocities, Gaussians that carry, and points among neighbours. What is bad spoils only what
meets it."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from semaflow.kernels import advect
from semaflow.kernels.neighbors import nearest
from torch import Tensor

from .dice import Dice, close, same

BOX = [[-1.0, -1.0, -1.0], [1.0, 1.2, 1.0]]


def trajectories(dice: Dice) -> None:
    count, method = 4 + dice.pick(20), dice.of(("euler", "midpoint", "rk4", "dopri5"))
    points, grid = 2.4 * dice.rand(count, 3) - 1.2, dice.randn(4, 5, 6, 4, 3)
    times = torch.tensor([0.1, 0.3, 0.35, 0.9, 1.1])
    options = {"box": BOX, "boundary": dice.of(("clamp", "zero", "periodic")), "trials": 200}
    weights = dice.randn(count, len(times), 3)

    def run(points: Tensor, grid: Tensor, weights: Tensor):
        leaves = [x.clone().requires_grad_(True) for x in (points, times, grid)]
        path = advect.trajectories(*leaves, method, **options)
        return path.detach(), torch.autograd.grad(path, leaves, weights)

    expected, truth = run(points, grid, weights)
    dirty_points, dirty_grid = points.clone(), grid.clone()
    healthy = torch.ones(count, dtype=torch.bool)
    if dice.pick(2):
        for row in dice.some(count):
            dice.poison(dirty_points[row])
            healthy[row] = False
    else:
        # A particle has met a node, be it with the least of weights, if it or its gradient goes elsewhere when the
        # node is another one.
        other = grid.clone()
        for _ in range(1 + dice.pick(2)):
            node = dice.pick(4), dice.pick(5), dice.pick(6), dice.pick(4)
            dice.poison(dirty_grid[node])
            other[node] = 1e30
        path, gradients = run(points, other, weights)
        healthy = (path == expected).flatten(1).all(1) & (gradients[0] == truth[0]).all(1)
    weights = weights * healthy[:, None, None]
    _, truth = run(points, grid, weights)
    path, (v_points, v_times, v_grid) = run(dirty_points, dirty_grid, weights)
    same("paths", path[healthy], expected[healthy])
    same("gradient of points", v_points[healthy], truth[0][healthy])
    close("gradient of times", v_times, truth[1])
    close("gradient of velocities", v_grid, truth[2])


def through_a_function(dice: Dice) -> None:
    """Equal steps; adaptive ones all particles share."""
    count, method = 4 + dice.pick(20), dice.of(("euler", "midpoint", "rk4"))
    points, times = dice.randn(count, 3), torch.linspace(0, 1, 4)
    matrix = 0.5 * dice.randn(3, 3)
    dirty, healthy = points.clone(), torch.ones(count, dtype=torch.bool)
    for row in dice.some(count):
        dice.poison(dirty[row])
        healthy[row] = False
    weights = dice.randn(count, len(times), 3) * healthy[:, None, None]

    def run(points: Tensor):
        leaves = [points.clone().requires_grad_(True), matrix.clone().requires_grad_(True)]
        path = advect.trajectories(leaves[0], times, lambda t, x: torch.tanh(x @ leaves[1]), method)
        return path.detach(), torch.autograd.grad(path, leaves, weights)

    (path, gradients), (expected, truth) = run(dirty), run(points)
    close("paths", path[healthy], expected[healthy])
    close("gradient of points", gradients[0][healthy], truth[0][healthy])
    if dirty.isfinite().all() and float(dirty.abs().max()) < 1e15 or not dirty[~healthy].isfinite().any():
        close("gradient of the function", gradients[1], truth[1])


def carry(dice: Dice) -> None:
    """Gaussians that are no numbers move nothing; others only the points around them."""
    count, k = 12 + dice.pick(20), dice.of((1, 4))
    points = dice.randn(10, 3)
    fields = [dice.randn(count, n) for n in (3, 4, 3, 4)]
    dirty_points, dirty = points.clone(), [x.clone() for x in fields]
    healthy = torch.ones(10, dtype=torch.bool)
    bad = torch.zeros(count, dtype=torch.bool)
    if dice.pick(2):
        for row in dice.some(10):
            dice.poison(dirty_points[row])
            healthy[row] = False
    for row in dice.some(count):
        dice.poison(dice.of(dirty)[row])
        bad[row] = True
    no_numbers = ~(torch.cat(dirty, 1).abs() <= 1e15).all(1)
    kept = ~no_numbers
    for means in (fields[0][kept], dirty[0][kept]):  # points that a bad Gaussian moves, or would have moved
        distances = torch.cdist(points.double(), means.double())
        healthy &= ~bad[kept][distances.topk(k, largest=False).indices].any(1)
    weights = dice.randn(10, 3) * healthy[:, None]

    def run(points: Tensor, fields: list[Tensor]):
        leaves = [x.clone().requires_grad_(True) for x in (points, *fields)]
        a, b = (SimpleNamespace(means=m, quats=q) for m, q in (leaves[1:3], leaves[3:5]))
        moved = advect.carry(leaves[0], a, b, k)
        return moved.detach(), torch.autograd.grad(moved, leaves, weights)

    (moved, gradients), (expected, truth) = run(dirty_points, dirty), run(points, [x[kept] for x in fields])
    same("points", moved[healthy], expected[healthy])
    same("gradient of points", gradients[0][healthy], truth[0][healthy])
    for i, (a, b) in enumerate(zip(gradients[1:], truth[1:], strict=True)):
        close(f"gradient of field {i}", a[~bad], b[~bad[kept]])
        assert not no_numbers.any() or float(a[no_numbers].abs().max()) == 0, "gradient of what moves nothing"


def neighbors(dice: Dice) -> None:
    """Those of the healthy among the healthy are the nearest there are; the rest are no nearer than they are."""
    count, k, own = 10 + dice.pick(60), dice.of((1, 3)), dice.pick(2)
    points = dice.randn(count, 3) * dice.of((1.0, 1e-3, 1e3))
    queries = points if own else dice.randn(12, 3)
    dirty = points.clone()
    kind = dice.pick(3)
    if kind == 0:  # heaps of coinciding points
        dirty[dice.some(count, 8)] = dirty[0].clone()
    else:
        for row in dice.some(count, (3, count // 2)[kind - 1]):
            dice.poison(dirty[row])
    asked = dirty if own else queries.clone()
    if not own:
        for row in dice.some(12):
            dice.poison(asked[row])
    distances, indices = nearest(dirty, k, None if own else asked)
    truth = torch.cdist(asked.double(), dirty.double(), compute_mode="donot_use_mm_for_euclid_dist")
    truth[~asked.isfinite().all(1)] = torch.inf
    truth[:, ~dirty.isfinite().all(1)] = torch.inf
    if own:
        truth.fill_diagonal_(torch.inf)
    expected = truth.topk(k, largest=False).values
    near = expected < 1e14
    assert distances[near].isfinite().all(), "a neighbour is missing"
    torch.testing.assert_close(distances[near].double(), expected[near], rtol=1e-4, atol=1e-6 * 1e3)
    there = indices >= 0
    assert torch.equal(there, distances.isfinite()), "a distance without a neighbour, or a neighbour without"
    assert (expected[there] < torch.inf).all(), "a neighbour that is no numbers"


CASES = {
    "advect.trajectories": trajectories,
    "advect.trajectories of a function": through_a_function,
    "advect.carry": carry,
    "neighbors": neighbors,
}
