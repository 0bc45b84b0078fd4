"""Poisoned Gaussians, cameras and maps.

A Gaussian that is no Gaussian is left out: the image is that of the scene without it. One that is drawn, however
large, spoils no pixel that it does not reach, and no gradient that comes from such pixels.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from semaflow.kernels import splat
from torch import Tensor

from tests.reference.gaussians import Gaussians, random_gaussians

from .dice import NO_NUMBERS, Dice, close, same

FIELDS = ("means", "quats", "scales", "opacities", "colors")


def scene_of(dice: Dice, **options) -> Gaussians:
    return random_gaussians(dice.seed, count=6 + dice.pick(20), cameras=2, **options).to(torch.float32)


def with_bad_gaussians(dice: Dice, scene: Gaussians) -> tuple[Gaussians, Tensor]:
    """The scene, some of its Gaussians spoilt; and which are not [N]."""
    fields = {name: getattr(scene, name).clone() for name in FIELDS}
    healthy = torch.ones(len(scene.means), dtype=torch.bool)
    for row in dice.some(len(healthy)):
        healthy[row] = False
        kind = dice.pick(8)
        if kind == 0:  # where another is, and just like it
            other = (row + 1) % len(healthy)
            for name in FIELDS[:3]:
                fields[name][row] = fields[name][other]
        elif kind == 1:  # behind the first camera, or in its plane
            fields["means"][row] = torch.tensor([0.1, 0.1, -3.0 * dice.pick(2)])
        elif kind == 2:
            fields["scales"][row] *= -1
        elif kind == 3:
            fields["quats"][row] = 0.0
        elif kind == 4:
            fields["scales"][row] = dice.of((1e38, 1e30, 1e10, 1e-30, 0.0))
        else:
            dice.poison(fields[dice.of(FIELDS)][row : row + 1])
    return replace(scene, **fields), healthy


def with_bad_camera(dice: Dice, scene: Gaussians) -> Gaussians:
    """The scene, its second camera spoilt."""
    viewmats, Ks = scene.viewmats.clone(), scene.Ks.clone()
    kind = dice.pick(4)
    if kind == 0:
        viewmats[1] = 0.0
    elif kind == 1:
        viewmats[1, :3, :3] *= dice.of((-1.0, 1e-20, 1e20, 1e38))
    elif kind == 2:
        dice.poison(viewmats[1, :3])
    else:
        dice.poison(Ks[1, :2])
    return replace(scene, viewmats=viewmats, Ks=Ks)


def spoilt(dice: Dice, scene: Gaussians) -> tuple[Gaussians, Gaussians, Tensor, bool]:
    """``(spoilt scene, the same without bad Gaussians and with good cameras, healthy Gaussians, bad camera?)``."""
    camera_too = dice.pick(3) == 0
    bad, healthy = with_bad_gaussians(dice, scene)
    if camera_too:
        bad = with_bad_camera(dice, bad)
    return bad, scene.subset(healthy), healthy, camera_too


@torch.no_grad()
def reached(scene: Gaussians, healthy: Tensor, camera_too: bool, options: dict | None = None) -> tuple[Tensor, Tensor]:
    """Pixels [C, H, W] that bad Gaussians may reach or a bad camera sees; and which Gaussians [N] no camera draws."""
    options = {**(options or {}), "backgrounds": None, "packed": False}
    meta = scene.render(splat.rasterization, **options)[2]
    y, x = torch.meshgrid(torch.arange(scene.height) + 0.5, torch.arange(scene.width) + 0.5, indexing="ij")
    pixels = torch.zeros(len(scene.viewmats), scene.height, scene.width, dtype=torch.bool)
    for camera, row in (meta["radii"].amin(-1) * ~healthy > 0).nonzero().tolist():
        distance = (torch.stack([x, y], -1) - meta["means2d"][camera, row]).abs()
        pixels[camera] |= (distance <= meta["radii"][camera, row] + 1).all(-1)
    if camera_too:
        pixels[1] = True
    return pixels, (meta["radii"].amin(-1) == 0).all(0)


RENDERING = [
    {},
    {"packed": False, "absgrad": True},
    {"rasterize_mode": "antialiased", "render_mode": "RGB+ED"},
    {"render_mode": "D"},
    {"camera_model": "ortho", "packed": False},
]


def rasterization(dice: Dice) -> None:
    options = dict(dice.of(RENDERING))
    degree = dice.of((None, None, 3))
    scene = scene_of(dice, channels=dice.of((3, 20)), sh_degree=degree)
    if degree is not None:
        options["sh_degree"] = degree
    bad, rest, healthy, camera_too = spoilt(dice, scene)
    pixels, undrawn = reached(bad, healthy, camera_too, options)
    alpha_weights = dice.randn(*pixels.shape, 1)

    def found(case: Gaussians, mask: Tensor):
        case = case.leaves()
        image, alpha, _ = case.render(splat.rasterization, **options)
        g = torch.linspace(-1, 1, image.numel()).view_as(image)
        torch.autograd.backward((image, alpha), (g * mask, alpha_weights * mask))
        return image.detach(), alpha.detach(), {name: getattr(case, name).grad for name in case.DIFFERENTIABLE}

    clear = ~pixels[..., None]
    image, alpha, gradients = found(bad, clear)
    expected, expected_alpha, truth = found(rest, clear)
    same("image", image[~pixels], expected[~pixels])
    same("alpha", alpha[~pixels], expected_alpha[~pixels])
    for name in Gaussians.DIFFERENTIABLE:
        if gradients[name] is None:  # depth alone has no colours
            continue
        if name in Gaussians.PRIMITIVES:
            close(f"gradient of {name}", gradients[name][healthy], truth[name])
            own = gradients[name][undrawn]
            assert not own.numel() or float(own.abs().max()) == 0, f"{name}: gradient of what is not drawn"
        else:
            cameras = slice(0, 1) if camera_too else slice(None)
            close(f"gradient of {name}", gradients[name][cameras], truth[name][cameras])
    everywhere = found(bad, torch.ones_like(clear))[2]
    for name in Gaussians.PRIMITIVES:
        own = None if everywhere[name] is None else everywhere[name][undrawn]
        assert own is None or not own.numel() or float(own.abs().max()) == 0, f"{name}: gradient of what is not drawn"


def gradients(dice: Dice) -> None:
    """A gradient of an image that is no number harms only the Gaussians that its pixel shows."""
    options = dict(dice.of(RENDERING))
    scene = scene_of(dice, channels=dice.of((3, 20)))
    spoilt_pixels = torch.zeros(2, scene.height, scene.width, dtype=torch.bool)
    for _ in range(1 + dice.pick(3)):
        spoilt_pixels[dice.pick(2), dice.pick(scene.height), dice.pick(scene.width)] = True
    image, alpha, _ = scene.render(splat.rasterization, **options)
    incoming = [dice.randn(*image.shape), dice.randn(*alpha.shape)]
    healthy = [x * ~spoilt_pixels[..., None] for x in incoming]
    target = dice.pick(2)
    for at in spoilt_pixels.nonzero().tolist():
        incoming[target][*at, dice.pick(incoming[target].shape[-1])] = dice.of(NO_NUMBERS)
    geometry = {name: options[name] for name in ("rasterize_mode", "camera_model") if name in options}
    seen = splat.rasterization(*scene.geometry, torch.eye(len(scene.means)), *scene.views, **geometry)[0]
    spared = (seen * spoilt_pixels[..., None]).amax((0, 1, 2)) == 0

    def found(gradients):
        case = scene.leaves()
        image, alpha, _ = case.render(splat.rasterization, **options)
        torch.autograd.backward((image, alpha), gradients)
        return {name: getattr(case, name).grad for name in Gaussians.PRIMITIVES}

    expected = found(healthy)
    for name, value in found(incoming).items():
        if value is not None:
            same(f"gradient of {name}", value[spared], expected[name][spared])


def spoilt_geometry(dice: Dice) -> tuple[Gaussians, Gaussians, Tensor, bool]:
    """:func:`spoilt` but for colours."""
    scene = scene_of(dice)
    bad, *rest = spoilt(dice, scene)
    return replace(bad, colors=scene.colors), *rest


def uplift(dice: Dice) -> None:
    """Bad pixels of a map are of no account to Gaussians that weigh nothing there."""
    bad, rest, healthy, camera_too = spoilt_geometry(dice)
    pixels, undrawn = reached(bad, healthy, camera_too)
    maps = dice.randn(2, bad.height, bad.width, dice.of((3, 20))) * ~pixels[..., None]
    spoilt_pixels = torch.zeros_like(pixels)
    dirty = maps.clone()
    if dice.pick(2):
        for _ in range(3):
            at = dice.pick(2), dice.pick(bad.height), dice.pick(bad.width)
            dice.poison(dirty[at])
            spoilt_pixels[at] = True
    away = ~(pixels | spoilt_pixels)

    def only_there(case: Gaussians) -> Tensor:
        """Gaussians [N] that only weigh where all is well."""
        weights = torch.eye(len(case.means))
        seen = splat.rasterization(*case.geometry, weights, *case.views)[0]
        return (seen * ~away[..., None]).amax((0, 1, 2)) == 0

    clean = only_there(rest) & only_there(bad)[healthy]
    sums, found = splat.uplift(*bad.geometry, dirty, bad.viewmats, bad.Ks, normalize=False)
    expected, expected_weights = splat.uplift(*rest.geometry, maps, rest.viewmats, rest.Ks, normalize=False)
    close("sums", sums[healthy][clean], expected[clean])
    close("weights", found[healthy][clean], expected_weights[clean])
    assert not undrawn.any() or float(sums[undrawn].abs().max()) == 0
    means, _ = splat.uplift(*bad.geometry, dirty, bad.viewmats, bad.Ks)
    assert means[healthy][clean].isfinite().all(), "means are not finite"


def contributors(dice: Dice) -> None:
    bad, rest, healthy, camera_too = spoilt_geometry(dice)
    pixels, _ = reached(bad, healthy, camera_too)
    k = dice.of((1, 4))
    ids, weights = splat.contributors(*bad.geometry, *bad.views, k=k)
    expected_ids, expected = splat.contributors(*rest.geometry, *rest.views, k=k)
    expected_ids = torch.where(expected_ids >= 0, healthy.nonzero()[:, 0][expected_ids.clamp_min(0)], -1)
    same("weights", weights[~pixels], expected[~pixels])
    same("ids", ids[~pixels], expected_ids[~pixels])


def cell_weights(dice: Dice) -> None:
    bad, rest, healthy, camera_too = spoilt_geometry(dice)
    pixels, _ = reached(bad, healthy, camera_too)
    size = splat.CELL
    rows, columns = -(-bad.height // size), -(-bad.width // size)
    padded = torch.nn.functional.pad(pixels, (0, columns * size - bad.width, 0, rows * size - bad.height))
    clear = ~padded.unfold(1, size, size).unfold(2, size, size).flatten(3).any(-1).flatten()

    def dense(case: Gaussians):
        cells, gaussians, weights = splat.cell_weights(*case.geometry, *case.views)
        return torch.zeros(len(clear), len(case.means)).index_put((cells, gaussians), weights)

    same("weights", dense(bad)[clear][:, healthy], dense(rest)[clear])


def view(dice: Dice) -> None:
    """What is drawn of a view is what is drawn without it, whatever its Gaussians, its camera and the colours are."""
    bad, _, _, _ = spoilt(dice, scene_of(dice, channels=dice.of((3, 20))))
    camera = dice.pick(2)
    cameras = bad.viewmats[camera], bad.Ks[camera], bad.width, bad.height
    one = bad.viewmats[camera : camera + 1], bad.Ks[camera : camera + 1], bad.width, bad.height
    seen = splat.view(*bad.geometry, *cameras)
    for colors in (bad.colors, bad.colors.nan_to_num(0.5, 0.5, 0.5)[:, : 1 + dice.pick(3)]):
        image, alpha = seen.render(colors)
        expected, expected_alpha, _ = splat.rasterization(*bad.geometry, colors, *one)
        assert torch.equal(image.nan_to_num(7.0), expected[0].nan_to_num(7.0)), "image"
        same("alpha", alpha, expected_alpha[0, ..., 0])


CASES = {
    "splat.rasterization": rasterization,
    "splat.uplift": uplift,
    "splat.contributors": contributors,
    "splat.cell_weights": cell_weights,
    "splat.view": view,
    "splat.gradients": gradients,
}
