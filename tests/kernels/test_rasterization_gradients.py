"""Gradients of the rasterizer, for every differentiable input, against autograd and against finite
differences."""

import pytest
import torch
from semaflow.kernels import splat

from tests.reference import splat as oracle
from tests.reference.gaussians import DEVICES, Gaussians, random_gaussians
from tests.reference.gradients import assert_gradients_close, finite_differences

TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-8}


def weigh(image, alpha, certain, seed=0):
    """A random linear loss over images and alphas, blind to pixels whose cut-off decisions rounding
    may flip."""
    g = torch.Generator().manual_seed(seed)
    weights = torch.randn(image.shape, generator=g, dtype=torch.float64) * certain
    alpha_weights = torch.randn(alpha.shape, generator=g, dtype=torch.float64) * certain
    return (image * weights.to(image)).sum() + (alpha * alpha_weights.to(alpha)).sum()


def compare(scene: Gaussians, device, names=Gaussians.DIFFERENTIABLE, **options):
    """Gradients of the kernel in both precisions against those of the reference in float64."""
    reference = scene.leaves(*names)
    image, alpha, meta = reference.render(oracle.rasterization, **options)
    assert meta["certain"].double().mean() > 0.9
    weigh(image, alpha, meta["certain"]).backward()
    for dtype, tolerance in TOLERANCE.items():
        ours = scene.to(dtype).to(device).leaves(*names)
        weigh(*ours.render(splat.rasterization, **options)[:2], meta["certain"]).backward()
        for name in names:
            expected, actual = getattr(reference, name), getattr(ours, name)
            expected = torch.zeros_like(expected) if expected.grad is None else expected.grad
            actual = torch.zeros_like(actual) if actual.grad is None else actual.grad
            assert actual.dtype == dtype
            assert_gradients_close(actual, expected, tolerance, f"{name}, {dtype}")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rasterize_mode", ["classic", "antialiased"])
@pytest.mark.parametrize("render_mode", ["RGB", "D", "ED", "RGB+D", "RGB+ED"])
def test_every_mode(render_mode, rasterize_mode, device):
    compare(random_gaussians(20), device, render_mode=render_mode, rasterize_mode=rasterize_mode)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(21, 27))
def test_random_scenes(seed, device):
    compare(random_gaussians(seed, spread=1.3), device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "options",
    [
        {"camera_model": "ortho"},
        {"camera_model": "ortho", "rasterize_mode": "antialiased", "render_mode": "RGB+ED"},
        {"eps2d": 1.5},
        {"near_plane": 3.0, "far_plane": 4.5},
        {"packed": False},
    ],
    ids=str,
)
def test_options(options, device):
    reference_options = {k: v for k, v in options.items() if k != "packed"}
    if reference_options == options:
        compare(random_gaussians(30), device, **options)
        return
    grads = []
    for packed in (True, False):
        scene = random_gaussians(30).to(torch.float32).to(device).leaves()
        scene.render(splat.rasterization, packed=packed)[0].square().sum().backward()
        grads.append([getattr(scene, name).grad for name in Gaussians.DIFFERENTIABLE])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("degree", range(4))
def test_harmonics(degree, device):
    compare(random_gaussians(31 + degree, sh_degree=degree), device, sh_degree=degree)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 2, 5, 8, 16, 33, 70])
def test_any_number_of_channels(channels, device):
    compare(random_gaussians(35, channels=channels), device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [512, 1024])
def test_many_channels(channels, device):
    compare(
        random_gaussians(36, count=25, width=19, height=9, cameras=1, channels=channels), device
    )


@pytest.mark.parametrize("device", DEVICES)
def test_many_gaussians_and_tiles(device):
    compare(random_gaussians(37, count=400, width=67, height=35), device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", Gaussians.DIFFERENTIABLE)
def test_one_input_alone(name, device):
    """The gradient of an input is the same whether or not the others want theirs."""
    grads = []
    for names in ((name,), Gaussians.DIFFERENTIABLE):
        scene = random_gaussians(38).to(torch.float32).to(device).leaves(*names)
        scene.render(splat.rasterization, render_mode="RGB+ED")[0].square().sum().backward()
        grads.append(getattr(scene, name).grad)
        for other in set(Gaussians.DIFFERENTIABLE) - set(names):
            assert getattr(scene, other).grad is None
    assert torch.equal(*grads)


@pytest.mark.parametrize("device", DEVICES)
def test_colors_per_camera(device):
    scene = random_gaussians(39)
    both = torch.stack([scene.colors, scene.colors.flip(0)])
    grads = {}
    for dtype, rasterization in (
        (torch.float64, oracle.rasterization),
        (torch.float32, splat.rasterization),
    ):
        where = "cpu" if dtype == torch.float64 else device
        inputs = scene.to(dtype).to(where)
        colors = both.clone().to(dtype).to(where).requires_grad_(True)
        image = rasterization(*inputs.geometry, colors, *inputs.views)[0]
        certain = scene.render(oracle.rasterization)[2]["certain"].to(where)
        ((image * certain) ** 2).sum().backward()
        grads[dtype] = colors.grad
    assert_gradients_close(grads[torch.float32], grads[torch.float64], 2e-4, "colors")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [3, 20])
def test_absgrad(channels, device):
    """``means2d.absgrad`` sums the sizes of each pixel's contribution, all channels taken together;
    ``means2d.grad`` sums the contributions."""
    scene = random_gaussians(40, channels=channels)
    reference = scene.leaves("means")
    image, alpha, meta = reference.render(oracle.rasterization)
    meta["view"].means2d.retain_grad()
    weigh(image, alpha, meta["certain"]).backward()
    expected = torch.stack([b.deltas.grad.abs().sum(1) for b in meta["blends"]])

    ours = scene.to(torch.float32).to(device).leaves("means")
    image, alpha, info = ours.render(splat.rasterization, packed=False, absgrad=True)
    info["means2d"].retain_grad()
    weigh(image, alpha, meta["certain"]).backward()
    assert_gradients_close(info["means2d"].absgrad, expected, 2e-4, "absgrad")
    assert_gradients_close(info["means2d"].grad, meta["view"].means2d.grad, 2e-4, "means2d")


def smooth_scene() -> Gaussians:
    """Five Gaussians, each wider than the 8x8 image, none near opaque: no cut-off anywhere near."""
    g = torch.Generator().manual_seed(3)
    scene = random_gaussians(3, count=5, cameras=1, width=8, height=8)
    depth = scene.means[:, 2:].clone()
    return (
        Gaussians(
            means=torch.cat(
                [depth * (torch.rand(5, 2, generator=g, dtype=torch.float64) - 0.5) * 0.6, depth],
                -1,
            ),
            quats=scene.quats,
            scales=depth * (0.7 + 0.4 * torch.rand(5, 3, generator=g, dtype=torch.float64)),
            opacities=0.3 + 0.4 * torch.rand(5, generator=g, dtype=torch.float64),
            colors=scene.colors,
            viewmats=scene.viewmats,
            Ks=scene.Ks,
            backgrounds=scene.backgrounds,
            width=8,
            height=8,
        )
        .to(torch.float32)
        .to(torch.float64)
    )


def loss_of(rasterization, scene: Gaussians, name: str, **options):
    """The loss as a function of one input."""

    def loss(value):
        inputs = {key: getattr(scene, key) for key in Gaussians.NAMES} | {name: value}
        changed = Gaussians(**inputs, width=scene.width, height=scene.height)
        image, alpha, _ = changed.render(rasterization, **options)
        return weigh(image.double(), alpha.double(), torch.ones_like(alpha))

    return loss


@pytest.mark.parametrize(
    "options", [{}, {"render_mode": "RGB+ED", "rasterize_mode": "antialiased"}], ids=str
)
@pytest.mark.parametrize("name", Gaussians.DIFFERENTIABLE)
def test_reference_against_finite_differences(name, options):
    """The oracle's own gradients, in float64."""
    scene = smooth_scene()
    leaf = getattr(scene, name).clone().requires_grad_(True)
    loss = loss_of(oracle.rasterization, scene, name, **options)
    loss(leaf).backward()
    with torch.no_grad():
        expected = finite_differences(loss, leaf.detach(), 1e-6)
    assert_gradients_close(leaf.grad, expected, 1e-6, name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("dtype", "step", "tolerance"), [(torch.float32, 4e-3, 1e-2), (torch.float64, 1e-6, 1e-6)]
)
@pytest.mark.parametrize(
    "options", [{}, {"render_mode": "RGB+ED", "rasterize_mode": "antialiased"}], ids=str
)
@pytest.mark.parametrize("name", Gaussians.DIFFERENTIABLE)
def test_kernel_against_finite_differences(name, options, dtype, step, tolerance, device):
    """The kernel's gradients against differences of its own images."""
    scene = smooth_scene().to(dtype).to(device)
    leaf = getattr(scene, name).clone().requires_grad_(True)
    loss = loss_of(splat.rasterization, scene, name, **options)
    loss(leaf).backward()
    with torch.no_grad():
        expected = finite_differences(loss, leaf.detach(), step)
    assert_gradients_close(leaf.grad, expected, tolerance, name)
