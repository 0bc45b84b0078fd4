"""Poisoned points, cameras, and cells of maps and planes. What is bad spoils only what it is looked up with."""

from __future__ import annotations

import torch
from semaflow.kernels import gather
from semaflow.kernels.planes import sample_planes

from .dice import Dice, close, same

WIDTH, HEIGHT = 90, 70


def sampled(dice: Dice) -> None:
    views, count, moving = 1 + dice.pick(3), 5 + dice.pick(20), dice.pick(2)
    levels = [dice.randn(views, 5, 7, 9), dice.randn(views, 20, 14, 18)][: 1 + dice.pick(2)]
    points = dice.randn(count, views, 3) if moving else dice.randn(count, 3)
    points[..., 2] += 3.0
    viewmats = torch.eye(4).repeat(views, 1, 1)
    viewmats[:, :3] += 0.1 * dice.randn(views, 3, 4)
    Ks = torch.tensor([[40.0, 1.0, 45.0], [0.0, 42.0, 35.0], [0.0, 0.0, 1.0]]).repeat(views, 1, 1)
    healthy = torch.ones(count, views, dtype=torch.bool)
    dirty = [x.clone() for x in (*levels, points, viewmats, Ks)]
    target = dice.pick(4)
    cell = None
    if target == 0:
        for row in dice.some(count):
            dice.poison(dirty[-3][row])
            healthy[row] = False
    elif target == 1:
        view = dice.pick(views)
        dice.poison((dirty[-2][view, :3], dirty[-1][view, :2])[dice.pick(2)])
        healthy[:, view] = False
    else:
        view, *cell = dice.pick(views), dice.pick(7), dice.pick(9)
        dice.poison(dirty[0][view, :, cell[0], cell[1]])
    call = gather.sample_trajectories if moving else gather.sample_views
    if cell is not None:  # the four cells around a point
        pixels = call(levels, points, viewmats, Ks, WIDTH, HEIGHT)[1]
        at = pixels[:, view] * torch.tensor([9 / WIDTH, 7 / HEIGHT]) - 0.5
        healthy[:, view] = ((at - torch.tensor([cell[1], cell[0]])).abs() >= 1.0).any(1)
    weights = [dice.randn(count, views, n) for n in (sum(x.shape[1] for x in levels), 2)] + [dice.randn(count, views)]
    kept = [w * healthy.view(count, views, *[1] * (w.ndim - 2)) for w in weights]

    def run(inputs, incoming):
        leaves = [x.clone().requires_grad_(True) for x in inputs]
        found = call(leaves[:-3], *leaves[-3:], WIDTH, HEIGHT)
        torch.autograd.backward(found[:3], incoming)
        return found, [x.grad for x in leaves]

    found, gradients = run(dirty, kept)
    expected, truth = run([*levels, points, viewmats, Ks], kept)
    for name, a, b in zip(("features", "pixels", "depth", "valid"), found, expected, strict=True):
        same(name, a[healthy], b[healthy])
        assert cell is not None or a.isfinite().all(), f"{name} is not finite"
    clear = healthy if moving else healthy.all(1)
    close("gradient of points", gradients[-3][clear], truth[-3][clear])
    cameras = healthy.any(0) if target == 0 else healthy.all(0)
    for name, a, b in zip(("viewmats", "Ks"), gradients[-2:], truth[-2:], strict=True):
        close(f"gradient of {name}", a[cameras], b[cameras])
    for a, b in zip(gradients[:-3], truth[:-3], strict=True):
        close("gradient of maps", a, b)
    if cell is None:
        assert all(x.isfinite().all() for x in run(dirty, weights)[1]), "a gradient is not finite"


def on_planes(dice: Dice) -> None:
    dims, count, channels = 3 + dice.pick(2), 5 + dice.pick(20), dice.of((1, 8, 11))
    places = 2.4 * dice.rand(count, dims) - 1.2
    space = [dice.randn(3, n, n, channels) for n in (9, 4)]
    time = [dice.randn(3, 5, *x.shape[2:]) for x in space] if dims == 4 else []
    dirty = [x.clone() for x in (places, *space, *time)]
    healthy = torch.ones(count, dtype=torch.bool)
    poisons_cell = dice.pick(2)
    if poisons_cell:
        plane, row, column = dice.pick(3), dice.pick(9), dice.pick(9)
        dice.poison(dirty[1][plane, row, column])
        x, y = ((0, 1), (0, 2), (1, 2))[plane]
        at = (4.5 * (places + 1) - 0.5).clamp(0, 8)  # in cells; beyond the outermost middles values go on
        healthy = ((at[:, x] - column).abs() >= 1.0) | ((at[:, y] - row).abs() >= 1.0)
    else:
        for row in dice.some(count):
            dice.poison(dirty[0][row])
            healthy[row] = False
    incoming = dice.randn(count, 2 * channels)

    def run(inputs, incoming):
        leaves = [x.clone().requires_grad_(True) for x in inputs]
        features = sample_planes(leaves[0], leaves[1:3], leaves[3:])
        features.backward(incoming)
        return features.detach(), [x.grad for x in leaves]

    # What is poisoned is without weight, so that the others' gradients must be those of a clean scene.
    kept = incoming * healthy[:, None]
    features, gradients = run(dirty, kept)
    expected, truth = run([places, *space, *time], kept)
    same("features", features[healthy], expected[healthy])
    same("gradient of places", gradients[0][healthy], truth[0][healthy])
    if not poisons_cell:
        assert features.isfinite().all(), "features are not finite"
        for a, b in zip(gradients[1:], truth[1:], strict=True):
            close("gradient of planes", a, b)
        assert all(x.isfinite().all() for x in run(dirty, incoming)[1]), "a gradient is not finite"


CASES = {"gather": sampled, "planes": on_planes}
