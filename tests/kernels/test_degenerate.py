"""Inputs that a real program produces sooner or later: nothing there, one of a kind, poisoned, or
off the scale.

A bad Gaussian is left out: image and gradients of the others are those of the scene without it, and
its own gradients are zero.
"""

from dataclasses import replace

import pytest
import torch
from semaflow.kernels import splat

from tests.reference import splat as oracle
from tests.reference.gaussians import DEVICES, Gaussians, random_gaussians

NAN, INF = float("nan"), float("inf")


def scene_of(count=30, device="cpu", **options) -> Gaussians:
    return random_gaussians(60, count=count, **options).to(torch.float32).to(device)


def poisoned(scene: Gaussians, row: int, **values) -> Gaussians:
    """The scene with some inputs of Gaussian ``row`` overwritten."""
    copies = {}
    for name, value in values.items():
        copies[name] = getattr(scene, name).clone()
        copies[name][row] = torch.as_tensor(value)
    return replace(scene, **copies)


def gradients(scene: Gaussians, **options):
    leaves = scene.leaves()
    image, alpha, _ = leaves.render(splat.rasterization, **options)
    weights = torch.linspace(-1, 1, image.numel(), device=image.device).view_as(image)
    ((image * weights).sum() + (alpha * weights[..., :1]).sum()).backward()
    return (
        image.detach(),
        alpha.detach(),
        {name: getattr(leaves, name).grad for name in Gaussians.DIFFERENTIABLE},
    )


BAD = {
    "nan mean": {"means": [NAN, 0.0, 3.0]},
    "nan depth": {"means": [0.0, 0.0, NAN]},
    "infinite mean": {"means": [0.0, INF, 3.0]},
    "infinitely far": {"means": [0.0, 0.0, INF]},
    "nan quaternion": {"quats": [NAN, 0.0, 0.0, 1.0]},
    "infinite quaternion": {"quats": [1.0, INF, 0.0, 1.0]},
    "zero quaternion": {"quats": [0.0, 0.0, 0.0, 0.0]},
    "nan scale": {"scales": [0.1, NAN, 0.1]},
    "infinite scale": {"scales": [0.1, 0.1, INF]},
    "overflowing scale": {"scales": [1e30, 1e30, 1e30]},
    "nan opacity": {"opacities": NAN},
    "infinite opacity": {"opacities": INF},
    "opacity zero": {"opacities": 0.0},
    "opacity below zero": {"opacities": -0.5},
    "behind the camera": {"means": [0.1, 0.1, -3.0]},
    "in the camera's plane": {"means": [0.1, 0.1, 0.0]},
    "far outside": {"means": [1e6, 0.0, 3.0]},
    "huge coordinates": {"means": [1e30, 1e30, 1e30]},
    "nan color": {"colors": [0.0, NAN, 0.0]},
    "infinite color": {"colors": [INF, 0.0, 0.0]},
    "all at once": {
        "means": [NAN] * 3,
        "quats": [NAN] * 4,
        "scales": [NAN] * 3,
        "opacities": NAN,
        "colors": [NAN] * 3,
    },
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rasterize_mode", ["classic", "antialiased"])
@pytest.mark.parametrize("values", BAD.values(), ids=BAD.keys())
def test_bad_gaussian_is_left_out(values, rasterize_mode, device):
    scene = scene_of(device=device, cameras=1)
    scene.viewmats.copy_(torch.eye(4))
    row, options = 11, {"rasterize_mode": rasterize_mode, "render_mode": "RGB+ED"}
    keep = torch.arange(30, device=device) != row
    image, alpha, grads = gradients(poisoned(scene, row, **values), **options)
    expected, expected_alpha, expected_grads = gradients(scene.subset(keep), **options)
    assert torch.equal(image, expected)
    assert torch.equal(alpha, expected_alpha)
    for name in Gaussians.DIFFERENTIABLE:
        own, without = grads[name], expected_grads[name]
        if name in Gaussians.PRIMITIVES:
            assert float(own[row].abs().max()) == 0, name
            own = own[keep]
        torch.testing.assert_close(
            own, without, rtol=1e-5, atol=1e-6 * float(without.abs().max()), msg=name
        )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("degree", [None, 0, 3])
def test_gaussian_of_bad_color_is_left_out(degree, value, device):
    """One number of its colour, or of its coefficients, is enough."""
    scene = scene_of(device=device, sh_degree=degree)
    colors = scene.colors.clone()
    colors[11, ..., 1].view(-1)[-1] = value
    keep = torch.arange(30, device=device) != 11
    image, alpha, grads = gradients(replace(scene, colors=colors), sh_degree=degree)
    expected, expected_alpha, expected_grads = gradients(scene.subset(keep), sh_degree=degree)
    assert torch.equal(image, expected)
    assert torch.equal(alpha, expected_alpha)
    for name in Gaussians.PRIMITIVES:
        assert float(grads[name][11].abs().max()) == 0, name
        assert torch.isfinite(grads[name]).all(), name
    torch.testing.assert_close(grads["means"][keep], expected_grads["means"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("camera", ["nan rotation", "nan focal", "zero focal"])
def test_bad_camera_does_not_spoil_the_others(camera, device):
    scene = scene_of(device=device)
    expected = scene.render(splat.rasterization)[0]
    viewmats, Ks = scene.viewmats.clone(), scene.Ks.clone()
    if camera == "nan rotation":
        viewmats[0, 1, 1] = NAN
    else:
        Ks[0, 0, 0] = NAN if camera == "nan focal" else 0.0
    image = splat.rasterization(
        *scene.geometry,
        scene.colors,
        viewmats,
        Ks,
        scene.width,
        scene.height,
        backgrounds=scene.backgrounds,
    )[0]
    assert torch.equal(image[1], expected[1])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("render_mode", ["RGB", "ED", "RGB+ED"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("what", ["none exist", "none seen"])
def test_nothing_to_see(what, packed, render_mode, device):
    """An empty scene, or one behind the camera, shows the background, and gives gradients of
    zero."""
    scene = scene_of(device=device)
    if what == "none exist":
        scene = scene.subset(slice(0, 0))
    else:
        scene.means[:, 2] -= 100.0
    scene = scene.leaves()
    image, alpha, meta = scene.render(splat.rasterization, packed=packed, render_mode=render_mode)
    assert alpha.shape == (2, 21, 37, 1)
    assert float(alpha.detach().abs().max()) == 0
    if "RGB" in render_mode:
        assert torch.equal(image[..., :3], scene.backgrounds[:, None, None].expand(2, 21, 37, 3))
    if "D" in render_mode:
        assert float(image.detach()[..., -1].abs().max()) == 0
    assert meta["means2d"].shape[:-1] == ((0,) if packed else (2, len(scene.means)))
    image.sum().backward()
    for name in Gaussians.PRIMITIVES:
        gradient = getattr(scene, name).grad
        assert gradient is None or float(gradient.abs().sum()) == 0, name
    if "RGB" in render_mode:
        assert torch.equal(scene.backgrounds.grad, torch.full_like(scene.backgrounds, 21 * 37))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(1, 1), (1, 17), (33, 1), (37, 21)])
@pytest.mark.parametrize("channels", [1, 3])
def test_single_gaussian(channels, size, device):
    scene = random_gaussians(61, count=1, channels=channels, width=size[0], height=size[1])
    scene.scales.fill_(0.5)
    image, alpha, _ = gradients(scene.to(torch.float32).to(device))
    expected, expected_alpha, meta = scene.render(oracle.rasterization)
    assert float(((image.cpu() - expected).abs() * meta["certain"]).max()) < 1e-5
    assert float(((alpha.cpu() - expected_alpha).abs() * meta["certain"]).max()) < 1e-5


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "scales",
    [
        [1e-6] * 3,
        [0.0] * 3,
        [1e-20] * 3,
        [30.0] * 3,
        [1e3] * 3,
        [0.0, 0.3, 0.0],
    ],
    ids=str,
)
def test_extreme_scales(scales, device):
    """Dots smaller than a pixel, threads without width, and Gaussians larger than the world."""
    scene = random_gaussians(62, count=6)
    scene.scales.copy_(torch.tensor(scales, dtype=torch.float64))
    scene.opacities.mul_(0.5)
    scene = scene.to(torch.float32).to(torch.float64)
    image, alpha, grads = gradients(scene.to(torch.float32).to(device))
    expected, expected_alpha, meta = scene.render(oracle.rasterization)
    assert float(((image.cpu() - expected).abs() * meta["certain"]).max()) < 2e-4
    assert float(((alpha.cpu() - expected_alpha).abs() * meta["certain"]).max()) < 2e-4
    for name, gradient in grads.items():
        assert torch.isfinite(gradient).all(), name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scales", [[5.0, 1e-4, 1e-4], [1e4, 1e4, 1e-3], [1e6, 1e-6, 1.0]], ids=str)
def test_needles_and_sheets_stay_finite(scales, device):
    """Their 2D covariance cancels float32's digits, so that only this much can be asked for."""
    scene = random_gaussians(62, count=6).to(torch.float32)
    scene.scales.copy_(torch.tensor(scales))
    image, alpha, grads = gradients(scene.to(device))
    assert torch.isfinite(image).all()
    assert float(alpha.min()) >= 0
    assert float(alpha.max()) <= 1
    for name, gradient in grads.items():
        assert torch.isfinite(gradient).all(), name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("depth", [0.011, 0.05, 1e3, 1e6])
def test_near_and_far(depth, device):
    """Right before the near plane, and very far."""
    scene = random_gaussians(63, count=6)
    scene.viewmats.copy_(torch.eye(4))
    scene.means.mul_(depth / scene.means[:, 2:])
    scene.means[:, :2] *= 0.3
    scene.scales.mul_(depth / 4)
    scene = scene.to(torch.float32).to(torch.float64)
    image, _, grads = gradients(scene.to(torch.float32).to(device))
    expected, _, meta = scene.render(oracle.rasterization)
    assert float(((image.cpu() - expected).abs() * meta["certain"]).max()) < 2e-5
    for name, gradient in grads.items():
        assert torch.isfinite(gradient).all(), name


@pytest.mark.parametrize("device", DEVICES)
def test_strided_and_expanded_inputs(device):
    """Views into larger tensors, and one row repeated, are read as what they are."""
    scene = scene_of(device=device)
    wide = torch.cat([scene.means, scene.scales, scene.colors], 1)
    means, scales, colors = wide[:, :3], wide[:, 3:6], wide[:, 6:]
    opacities = torch.tensor([0.5], device=device).expand(30)
    image = splat.rasterization(
        means, scene.quats.T.contiguous().T, scales, opacities, colors, *scene.views
    )[0]
    plain = splat.rasterization(
        scene.means, scene.quats, scene.scales, opacities.contiguous(), scene.colors, *scene.views
    )[0]
    assert torch.equal(image, plain)


@pytest.mark.parametrize("device", DEVICES)
def test_inputs_are_not_written_to(device):
    scene = scene_of(device=device)
    before = scene.to(torch.float64)
    gradients(scene, render_mode="RGB+ED", rasterize_mode="antialiased")
    for name in Gaussians.NAMES:
        assert torch.equal(getattr(scene, name).double(), getattr(before, name)), name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [3, 40])
def test_same_bits_every_time(channels, device):
    scene = (
        random_gaussians(64, count=300, width=67, height=45, channels=channels)
        .to(torch.float32)
        .to(device)
    )
    image, alpha, grads = gradients(scene)
    for _ in range(3):
        again, alpha_again, grads_again = gradients(scene)
        assert torch.equal(image, again)
        assert torch.equal(alpha, alpha_again)
        for name in Gaussians.DIFFERENTIABLE:
            assert torch.equal(grads[name], grads_again[name]), name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [3, 40])
def test_a_colour_at_the_end_of_all_numbers_reaches_only_pixels_that_show_it(channels, device):
    scene = scene_of(channels=channels, device=device)
    bright = poisoned(scene, 7, colors=torch.full((channels,), 3e38))
    with torch.no_grad():
        seen = bright.render(splat.rasterization)[0].abs().amax(-1, keepdim=True) > 1e10
    assert seen.any() and not seen.all()

    def found(case):
        leaves = case.leaves()
        image, _, _ = leaves.render(splat.rasterization)
        weights = torch.linspace(1, 2, image.numel(), device=image.device).view_as(image)
        image.backward(weights * ~seen)
        return {name: getattr(leaves, name).grad for name in Gaussians.PRIMITIVES}

    found_bright, truth = found(bright), found(scene)
    for name in Gaussians.PRIMITIVES:
        scale = float(truth[name].abs().max())
        torch.testing.assert_close(found_bright[name], truth[name], rtol=1e-4, atol=1e-5 * scale)
