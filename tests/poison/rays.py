"""Poisoned samples of rays, and poisoned rays at meshes. What is bad stays in its ray, and lets what is in front of it
be."""

from __future__ import annotations

import torch
from semaflow.kernels import composite
from semaflow.kernels.raycast import TriangleMesh
from torch import Tensor

from tests.reference.composite import Samples, random_samples

from .dice import Dice, close, same


def rays_of(dice: Dice) -> Samples:
    return random_samples(dice.seed, [dice.pick(9) for _ in range(8)] + [1, 20])


def spoil(dice: Dice, *tensors: Tensor) -> list[tuple[Tensor, list[int]]]:
    """Copies, bad numbers in some rows of one of them; and which rows."""
    copies = [x.detach().float().clone() for x in tensors]
    rows = dice.some(len(copies[0]))
    target = dice.of(copies)
    for row in rows:
        dice.poison(target[row : row + 1])
    return copies, rows


def compared(dice: Dice, samples: Samples, render, tensors: list[Tensor], along: tuple[bool, ...]) -> None:
    """``render(*leaves)`` of clean and of spoilt samples: outputs (per ray where ``along`` says so) and gradients."""
    dirty, rows = spoil(dice, *tensors)
    sick = torch.zeros(len(samples.counts), dtype=torch.bool)
    sick[samples.ray_indices[rows]] = True
    of_samples = ~sick[samples.ray_indices]

    def run(inputs):
        leaves = [x.detach().float().clone().requires_grad_(True) for x in inputs]
        outputs = render(*leaves)
        g = torch.Generator().manual_seed(dice.seed)
        incoming = [torch.randn(x.shape, generator=g) for x in outputs]
        torch.autograd.backward(outputs, incoming)
        return [x.detach() for x in outputs], [x.grad for x in leaves]

    (found, gradients), (expected, truth) = run(dirty), run(tensors)
    for i, (a, b, per_ray) in enumerate(zip(found, expected, along, strict=True)):
        healthy = ~sick if per_ray else of_samples
        same(f"output {i}", a[healthy], b[healthy])
    for i, (a, b) in enumerate(zip(gradients, truth, strict=True)):
        same(f"gradient {i}", a[of_samples], b[of_samples])


def weights_from_alpha(dice: Dice) -> None:
    samples = rays_of(dice)

    def render(alphas):
        return composite.render_weight_from_alpha(alphas, samples.packed_info)

    compared(dice, samples, render, [samples.alphas], (False, False))
    # In front of what is bad, all is as without it.
    (alphas,), rows = spoil(dice, samples.alphas)
    first = torch.full((len(samples.counts),), len(alphas))
    first.scatter_reduce_(0, samples.ray_indices[rows], torch.tensor(rows), "amin")
    in_front = torch.arange(len(alphas)) < first[samples.ray_indices]
    for name, a, b in zip(("weights", "trans"), render(alphas), render(samples.alphas.float()), strict=True):
        same(name, a[in_front], b[in_front])


def weights_from_density(dice: Dice) -> None:
    samples = rays_of(dice)

    def render(t_starts, t_ends, sigmas):
        return composite.render_weight_from_density(t_starts, t_ends, sigmas, samples.packed_info)

    compared(dice, samples, render, [samples.t_starts, samples.t_ends, samples.sigmas], (False,) * 3)


def sums(dice: Dice) -> None:
    samples = rays_of(dice)
    channels = dice.of((1, 3, 20))
    values = dice.rand(len(samples.alphas), channels)
    shuffled = dice.pick(2)
    order = torch.randperm(len(values), generator=dice.generator) if shuffled else torch.arange(len(values))

    def render(weights, values):
        rays = len(samples.counts)
        return (composite.accumulate_along_rays(weights[order], values[order], samples.ray_indices[order], rays),)

    compared(dice, samples, render, [samples.alphas, values], (True,))


def rendering(dice: Dice) -> None:
    samples = rays_of(dice)
    values = dice.rand(len(samples.alphas), dice.of((3, 20)))
    rays, density = len(samples.counts), dice.pick(2)

    def render(t_starts, t_ends, opaque, values):
        field = {"rgb_sigma_fn" if density else "rgb_alpha_fn": lambda *_: (values, opaque)}
        colors, opacities, depths, extras = composite.rendering(t_starts, t_ends, samples.ray_indices, rays, **field)
        return colors, opacities, depths, extras["weights"], extras["trans"]

    opaque = samples.sigmas if density else samples.alphas
    compared(dice, samples, render, [samples.t_starts, samples.t_ends, opaque, values], (True,) * 3 + (False,) * 2)


def static_dynamic(dice: Dice) -> None:
    samples = rays_of(dice)
    n, rays = len(samples.alphas), len(samples.counts)
    limits = {"early_stop_eps": dice.of((0.0, 0.2)), "alpha_thre": dice.of((0.0, 0.1))}

    def render(dynamic, static, blend, depths, shown_dynamic, shown_static, *deltas):
        result = composite.composite_static_dynamic(
            dynamic, static, blend, {"x": shown_dynamic}, {"x": shown_static}, depths, *deltas,
            ray_indices=samples.ray_indices, n_rays=rays, **limits,
        )  # fmt: skip
        layers = [y for layer in result[:3] for y in (layer.values["x"], layer.opacities, layer.depths)]
        return *layers, result.dynamicness, *result.weights

    inputs = [dice.rand(n) for _ in range(3)] + [samples.t_starts, dice.rand(n, 5), dice.rand(n, 5)]
    inputs += [samples.t_ends - samples.t_starts] * dice.pick(2)
    compared(dice, samples, render, inputs, (True,) * 10 + (False,) * 4)


def scans(dice: Dice) -> None:
    samples = rays_of(dice)
    scan = getattr(composite, dice.of(("inclusive_sum", "exclusive_sum", "inclusive_prod", "exclusive_prod")))
    compared(dice, samples, lambda x: (scan(x, samples.packed_info),), [samples.alphas + 0.5], (False,))


def groupings(dice: Dice) -> None:
    """Indices and ranges that make no sense are refused in one line, before any kernel reads by them."""
    samples = rays_of(dice)
    alphas, rays = samples.alphas.float(), len(samples.counts)
    value = dice.of((-1, -5, -(2**31), -(2**62), rays, 2**31, 2**62, len(alphas) + 1))
    how = dice.pick(2)
    table = (samples.ray_indices, samples.packed_info)[how].clone()
    table.view(-1)[dice.pick(table.numel())] = value
    arguments = {"ray_indices": table, "n_rays": rays} if how == 0 else {"packed_info": table}
    if how == 1 and 0 <= value <= len(alphas):
        return
    try:
        composite.render_weight_from_alpha(alphas, **arguments)
    except ValueError as error:
        assert "\n" not in str(error) and str(error).startswith(("ray_indices:", "packed_info:")), error
    else:
        raise AssertionError(f"{list(arguments)[0]} with {value} was taken")
    if how == 0:
        try:
            composite.accumulate_along_rays(alphas, None, table, rays)
        except ValueError as error:
            assert str(error).startswith("ray_indices:"), error
        else:
            raise AssertionError(f"ray_indices with {value} were taken")


def meshes(dice: Dice) -> None:
    """Bad rays hit nothing; bad corners are refused, and of large ones only their own triangle is worse."""
    count = dice.of((30, 300))
    vertices = dice.randn(count, 3)
    faces = torch.randint(0, count, (count, 3), generator=dice.generator)
    origins = dice.randn(40, 3) * 2
    directions = dice.randn(40, 3) * 0.5 - origins
    mesh = TriangleMesh(vertices, faces)
    truth, blocked = mesh.cast(origins, directions), mesh.occluded(origins, directions)
    if dice.pick(2):
        rows = dice.some(40)
        for row in rows:
            dice.poison((origins, directions)[dice.pick(2)][row])
        healthy = torch.ones(40, dtype=torch.bool)
        healthy[rows] = False
        found = mesh.cast(origins, directions)
        for name in ("face", "distance", "barycentric"):
            same(name, getattr(found, name)[healthy], getattr(truth, name)[healthy])
            assert getattr(found, name).isfinite().all(), name
        same("occluded", mesh.occluded(origins, directions)[healthy], blocked[healthy])
        bad = ~(origins.isfinite() & directions.isfinite()).all(1)
        assert (found.face[bad] == -1).all(), "a ray that is no numbers hits"
        return
    spoilt = vertices.clone()
    row = dice.pick(count)
    dice.poison(spoilt[row])
    try:
        found = TriangleMesh(spoilt, faces).cast(origins, directions)
    except ValueError as error:
        assert str(error).startswith("TriangleMesh:"), error
        return
    without = faces[~(faces == row).any(1)]
    if len(without) == 0:
        return
    rest = TriangleMesh(vertices, without).cast(origins, directions)
    hit = (rest.face >= 0) & ~(faces[found.face.clamp(min=0)] == row).any(1)
    close("distance", found.distance[hit], rest.distance[hit])  # of triangles that lie in one place either may be hit
    assert (found.face[hit] >= 0).all(), "a healthy triangle is missed"
    assert found.distance.isfinite().all(), "a distance that is no number"


CASES = {
    "composite.weights_from_alpha": weights_from_alpha,
    "composite.weights_from_density": weights_from_density,
    "composite.accumulate_along_rays": sums,
    "composite.rendering": rendering,
    "composite.static_dynamic": static_dynamic,
    "composite.scans": scans,
    "composite.groupings": groupings,
    "raycast": meshes,
}
