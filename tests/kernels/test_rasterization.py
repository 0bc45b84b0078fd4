"""Images of the rasterizer: numbers worked out by hand, the plain-torch reference, and laws that
must hold."""

import math

import pytest
import torch
from semaflow.kernels import splat

from tests.reference import splat as oracle
from tests.reference.gaussians import DEVICES, Gaussians, random_gaussians

MODES = ["RGB", "D", "ED", "RGB+D", "RGB+ED"]


def assert_images_close(actual, expected, certain, tolerance=2e-5):
    """Equal but for rounding; where a cut-off decision is open, at most that one faint Gaussian may
    differ."""
    scale = max(1.0, float(expected.detach().abs().max()))
    error = (actual.detach().cpu().double() - expected.detach()).abs() / scale
    assert float((error * certain).max()) <= tolerance
    assert float(error.max()) <= 0.01
    assert certain.double().mean() > 0.9


def on_axis(opacities, depths, device="cpu") -> Gaussians:
    """Isotropic Gaussians on the optical axis of a 5x5 camera, each covering one pixel (standard
    deviation) before the blur of 0.3, so that all have the 2D variance 1.3; the k-th has channel k
    of its colour set."""
    count = len(opacities)
    depths = torch.tensor(depths)
    return Gaussians(
        means=torch.stack([torch.zeros(count), torch.zeros(count), depths], -1),
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        scales=(depths / 10)[:, None].repeat(1, 3),
        opacities=torch.tensor(opacities),
        colors=torch.eye(count),
        viewmats=torch.eye(4)[None],
        Ks=torch.tensor([[[10.0, 0, 2.5], [0, 10, 2.5], [0, 0, 1]]]),
        backgrounds=torch.zeros(1, count),
        width=5,
        height=5,
    ).to(device)


@pytest.mark.parametrize("device", DEVICES)
def test_one_gaussian_by_hand(device):
    """alpha = 0.8 exp(-r^2 / 2.6): 0.8 at the centre, 0.544570 a pixel away, 0.171769 two away,
    0.036881 in the corner."""
    image, alpha, _ = on_axis([0.8], [2.0], device).render(splat.rasterization)
    expected = {(2, 2): 0.8, (2, 3): 0.544570, (1, 2): 0.544570, (2, 0): 0.171769, (4, 4): 0.036881}
    for (row, column), value in expected.items():
        assert float(alpha[0, row, column, 0]) == pytest.approx(value, abs=2e-6)
        assert float(image[0, row, column, 0]) == pytest.approx(value, abs=2e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_two_gaussians_by_hand(device):
    """At the centre the first takes 0.8, the second half of the 0.2 left: 0.1. Depth 0.8 * 2 + 0.1
    * 4 = 2.0, its average 2.0 / 0.9. A background of 1 adds the 0.1 that is left."""
    scene = on_axis([0.8, 0.5], [2.0, 4.0], device)
    image, alpha, _ = scene.render(splat.rasterization, render_mode="RGB+D")
    assert image[0, 2, 2].tolist() == pytest.approx([0.8, 0.1, 2.0], abs=1e-6)
    assert float(alpha[0, 2, 2, 0]) == pytest.approx(0.9, abs=1e-6)
    expected = scene.render(splat.rasterization, render_mode="ED")[0]
    assert float(expected[0, 2, 2, 0]) == pytest.approx(2.0 / 0.9, abs=1e-5)
    lit = scene.render(splat.rasterization, backgrounds=torch.ones(1, 2, device=device))[0]
    assert lit[0, 2, 2].tolist() == pytest.approx([0.9, 0.2], abs=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_two_gaussians_backward_by_hand(device):
    """Centre pixel, loss = red + 3 green: d/do1 = 1 - 3 * 0.5, d/do2 = 3 * 0.2, d/dc = weights,
    d/dz = 0 there since the centre's alpha does not depend on the footprint; one pixel to the
    right, d alpha1 / d mean_x = alpha1 * dx / 1.3 * (10 / 2)."""
    scene = on_axis([0.8, 0.5], [2.0, 4.0], device).leaves("means", "opacities", "colors")
    image, _, _ = scene.render(splat.rasterization)
    (image[0, 2, 2, 0] + 3 * image[0, 2, 2, 1]).backward(retain_graph=True)
    assert scene.opacities.grad.tolist() == pytest.approx([-0.5, 0.6], abs=1e-5)
    assert scene.colors.grad.flatten().tolist() == pytest.approx([0.8, 2.4, 0.1, 0.3], abs=1e-5)
    assert float(scene.means.grad.abs().max()) < 1e-5
    scene.means.grad = None
    image[0, 2, 3, 0].backward()
    alpha = 0.8 * math.exp(-1 / 2.6)
    assert float(scene.means.grad[0, 0]) == pytest.approx(alpha / 1.3 * 5, abs=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_antialiased_by_hand(device):
    """The blur spreads the same mass over 1.3 times the area, so opacity shrinks by 1 / 1.3."""
    alpha = on_axis([0.8], [2.0], device).render(splat.rasterization, rasterize_mode="antialiased")[
        1
    ]
    assert float(alpha[0, 2, 2, 0]) == pytest.approx(0.8 / 1.3, abs=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("opacities", "weights"),
    [
        ([1.0, 0.5], [0.999, 0.0005]),  # alpha saturates at 0.999
        (
            [1.0, 1.0, 0.5],
            [0.999, 0.0, 0.0],
        ),  # the second would leave 1e-6: the pixel ends before it, for good
        ([1.0, 0.5, 0.85, 0.1], [0.999, 0.0005, 0.0, 0.0]),  # the third would leave 7.5e-5
        (
            [1.0, 0.5, 0.75, 0.1],
            [0.999, 0.0005, 0.000375, 0.0000125],
        ),  # leaves 1.25e-4, then 1.125e-4
        ([0.00391, 0.5], [0.0, 0.5]),  # 0.99705 / 255 is skipped
        ([0.00393, 0.5], [0.00393, 0.498035]),  # 1.00215 / 255 is not
    ],
)
def test_thresholds_by_hand(opacities, weights, device):
    scene = on_axis(opacities, [2.0 + i for i in range(len(opacities))], device)
    image, alpha, _ = scene.render(splat.rasterization)
    assert image[0, 2, 2].tolist() == pytest.approx(weights, abs=1e-6)
    assert float(alpha[0, 2, 2, 0]) == pytest.approx(sum(weights), abs=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rasterize_mode", ["classic", "antialiased"])
@pytest.mark.parametrize("render_mode", MODES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("seed", range(2))
def test_images_match_the_reference(seed, dtype, tolerance, render_mode, rasterize_mode, device):
    scene = random_gaussians(seed)
    options = {"render_mode": render_mode, "rasterize_mode": rasterize_mode}
    image, alpha, _ = scene.to(dtype).to(device).render(splat.rasterization, **options)
    expected, expected_alpha, meta = scene.render(oracle.rasterization, **options)
    assert image.shape == expected.shape
    assert image.dtype == alpha.dtype == dtype
    assert_images_close(image, expected, meta["certain"], tolerance)
    assert_images_close(alpha, expected_alpha, meta["certain"], tolerance)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("size", "count", "options"),
    [
        ((37, 21), 80, {"camera_model": "ortho"}),
        ((37, 21), 80, {"eps2d": 1.5}),
        ((37, 21), 80, {"near_plane": 3.0, "far_plane": 4.5}),
        ((37, 21), 80, {"radius_clip": 5.0}),
        ((37, 21), 80, {"backgrounds": None}),
        ((16, 16), 80, {}),
        ((1, 50), 80, {}),
        ((70, 3), 80, {}),
        ((48, 33), 400, {}),
    ],
)
def test_options_and_sizes_match_the_reference(size, count, options, device):
    scene = random_gaussians(5, count=count, width=size[0], height=size[1], spread=1.3)
    image, alpha, _ = scene.to(torch.float32).to(device).render(splat.rasterization, **options)
    expected, expected_alpha, meta = scene.render(oracle.rasterization, **options)
    assert_images_close(image, expected, meta["certain"])
    assert_images_close(alpha, expected_alpha, meta["certain"])


@pytest.mark.parametrize("device", DEVICES)
def test_colors_per_camera(device):
    """Colours [C, N, D] give each camera its own."""
    scene = random_gaussians(6).to(torch.float32).to(device)
    other = torch.rand_like(scene.colors)
    both = splat.rasterization(*scene.geometry, torch.stack([scene.colors, other]), *scene.views)[0]
    for camera, colors in enumerate((scene.colors, other)):
        assert torch.equal(
            both[camera], splat.rasterization(*scene.geometry, colors, *scene.views)[0][camera]
        )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 2, 5, 8, 17, 70])
def test_any_number_of_channels(channels, device):
    """Each channel comes out as it would alone."""
    scene = random_gaussians(7, channels=channels, count=40)
    image, _, _ = scene.to(torch.float32).to(device).render(splat.rasterization)
    expected, _, meta = scene.render(oracle.rasterization)
    assert_images_close(image, expected, meta["certain"])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [70, 512, 1024])
def test_many_channels_are_the_parts_side_by_side(channels, device):
    scene = random_gaussians(8, channels=channels, count=40, width=19, height=13, cameras=1)
    scene = scene.to(torch.float32).to(device)
    whole = scene.render(splat.rasterization)[0]
    half = channels // 2
    for part in (slice(0, half), slice(half, channels)):
        piece = splat.rasterization(
            *scene.geometry,
            scene.colors[:, part],
            *scene.views,
            backgrounds=scene.backgrounds[:, part],
        )[0]
        torch.testing.assert_close(whole[..., part], piece, rtol=0, atol=2e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_linear_in_colors(device):
    scene = random_gaussians(9).to(torch.float32).to(device)
    other = torch.rand_like(scene.colors)

    def render(colors):
        return splat.rasterization(*scene.geometry, colors, *scene.views)[0]

    mixed = render(2.0 * scene.colors - 0.5 * other)
    torch.testing.assert_close(
        mixed, 2.0 * render(scene.colors) - 0.5 * render(other), rtol=0, atol=5e-6
    )


@pytest.mark.parametrize("device", DEVICES)
def test_alpha_is_the_sum_of_weights(device):
    """A world painted white shows its own coverage."""
    scene = random_gaussians(10).to(torch.float32).to(device)
    image, alpha, _ = splat.rasterization(
        *scene.geometry, torch.ones_like(scene.means), *scene.views
    )
    torch.testing.assert_close(image, alpha.expand_as(image), rtol=0, atol=5e-6)
    assert float(alpha.min()) >= 0
    assert float(alpha.max()) <= 1


@pytest.mark.parametrize("device", DEVICES)
def test_back_to_front_is_front_to_back(device):
    """Gaussians rendered one by one, and laid over one another from the farthest to the nearest."""
    scene = random_gaussians(14, count=12, cameras=1).to(torch.float32).to(device)
    scene.opacities.mul_(0.5)  # so that no pixel is full before the last
    image = scene.render(splat.rasterization)[0]
    over = scene.backgrounds[:, None, None].expand_as(image).double()
    for i in scene.render(splat.rasterization, packed=False)[2]["depths"][0].argsort(descending=True):
        alone = scene.subset(i[None]).render(splat.rasterization)[1].double()
        over = alone * scene.colors[i].double() + (1 - alone) * over
    torch.testing.assert_close(image.double(), over, rtol=0, atol=2e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_order_of_gaussians_does_not_matter(device):
    scene = random_gaussians(11).to(torch.float32).to(device)
    shuffled = scene.subset(
        torch.randperm(80, generator=torch.Generator().manual_seed(0)).to(device)
    )
    image, alpha, _ = scene.render(splat.rasterization)
    image2, alpha2, _ = shuffled.render(splat.rasterization)
    assert torch.equal(image, image2)
    assert torch.equal(alpha, alpha2)


@pytest.mark.parametrize("device", DEVICES)
def test_equal_depths_keep_the_order_of_the_input(device):
    scene = on_axis([0.5, 0.5, 0.5], [2.0, 2.0, 2.0], device)
    image = scene.render(splat.rasterization)[0]
    assert image[0, 2, 2].tolist() == pytest.approx([0.5, 0.25, 0.125], abs=1e-6)


def quaternion_product(a, b):
    w = a[0] * b[:, 0] - b[:, 1:] @ a[1:]
    v = a[0] * b[:, 1:] + b[:, :1] * a[1:] + torch.linalg.cross(a[1:].expand_as(b[:, 1:]), b[:, 1:])
    return torch.cat([w[:, None], v], -1)


@pytest.mark.parametrize("device", DEVICES)
def test_moving_world_and_cameras_together_changes_nothing(device):
    scene = random_gaussians(12, count=40)
    turn = torch.nn.functional.normalize(
        torch.tensor([0.6, -0.3, 0.5, 0.2], dtype=torch.float64), dim=0
    )
    rotation, shift = oracle.rotations(turn), torch.tensor([0.7, -1.1, 0.4], dtype=torch.float64)
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3], motion[:3, 3] = rotation, shift
    moved = Gaussians(
        means=scene.means @ rotation.T + shift,
        quats=quaternion_product(turn, scene.quats),
        scales=scene.scales,
        opacities=scene.opacities,
        colors=scene.colors,
        viewmats=scene.viewmats @ torch.linalg.inv(motion),
        Ks=scene.Ks,
        backgrounds=scene.backgrounds,
        width=scene.width,
        height=scene.height,
    )
    image = scene.to(torch.float32).to(device).render(splat.rasterization)[0]
    again = moved.to(torch.float32).to(device).render(splat.rasterization)[0]
    certain = scene.render(oracle.rasterization)[2]["certain"]
    assert_images_close(again, image.cpu().double(), certain, tolerance=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_a_window_of_the_image_is_a_crop_of_it(device):
    """Moving the principal point by whole pixels shifts the image, whatever tiles it is cut
    into."""
    scene = random_gaussians(13, width=53, height=39).to(torch.float32).to(device)
    whole = scene.render(splat.rasterization, camera_model="ortho")[0]
    for left, top in ((7, 5), (16, 16), (23, 1)):
        K = scene.Ks.clone()
        K[:, 0, 2] -= left
        K[:, 1, 2] -= top
        part = splat.rasterization(
            *scene.geometry,
            scene.colors,
            scene.viewmats,
            K,
            20,
            18,
            camera_model="ortho",
            backgrounds=scene.backgrounds,
        )[0]
        assert float((part - whole[:, top : top + 18, left : left + 20]).abs().max()) < 5e-3
        assert float((part - whole[:, top : top + 18, left : left + 20]).abs().mean()) < 5e-6


@pytest.mark.parametrize("device", DEVICES)
def test_cameras_of_a_batch_are_independent(device):
    scene = random_gaussians(14, cameras=3).to(torch.float32).to(device)
    together = scene.render(splat.rasterization)[0]
    for camera in range(3):
        one = slice(camera, camera + 1)
        alone = splat.rasterization(
            *scene.geometry,
            scene.colors,
            scene.viewmats[one],
            scene.Ks[one],
            scene.width,
            scene.height,
            backgrounds=scene.backgrounds[one],
        )[0]
        assert torch.equal(together[one], alone)


@pytest.mark.parametrize(
    "option",
    [
        {"camera_model": "fisheye"},
        {"distributed": True},
        {"with_ut": True},
        {"with_eval3d": True},
        {"sparse_grad": True},
        {"segmented": True},
        {"tile_size": 8},
        {"sh_degree": 4},
        {"radial_coeffs": torch.zeros(2, 4)},
        {"tangential_coeffs": torch.zeros(2, 2)},
        {"thin_prism_coeffs": torch.zeros(2, 4)},
        {"viewmats_rs": torch.eye(4).repeat(2, 1, 1)},
    ],
    ids=lambda option: next(iter(option)),
)
def test_what_is_not_supported_says_so(option):
    with pytest.raises(NotImplementedError, match=next(iter(option))):
        random_gaussians(0).to(torch.float32).render(splat.rasterization, **option)


def wrong(**changes):
    """Arguments of a call in which some are not what they should be."""
    scene = random_gaussians(0).to(torch.float32)
    names = ("means", "quats", "scales", "opacities", "colors", "viewmats", "Ks", "width", "height")
    values = (*scene.geometry, scene.colors, *scene.views)
    return dict(zip(names, values, strict=True)) | changes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("means", torch.zeros(80, 2)),
        ("quats", torch.zeros(80, 3)),
        ("scales", torch.zeros(79, 3)),
        ("opacities", torch.zeros(80, 1)),
        ("colors", torch.zeros(79, 3)),
        ("viewmats", torch.eye(4)),
        ("Ks", torch.eye(3)[None]),
        ("backgrounds", torch.zeros(2, 4)),
        ("render_mode", "normals"),
        ("rasterize_mode", "sharp"),
    ],
)
def test_what_makes_no_sense_says_so(name, value):
    with pytest.raises(ValueError, match=name):
        splat.rasterization(**wrong(**{name: value}))


@pytest.mark.parametrize("device", DEVICES)
def test_covariances_instead_of_scales_and_rotations(device):
    """Image, and gradients of what the covariances are made of, are the same."""
    results = []
    for direct in (True, False):
        scene = random_gaussians(15).to(torch.float32).to(device).leaves()
        if direct:
            image = scene.render(splat.rasterization)[0]
        else:
            factors = oracle.rotations(scene.quats) * scene.scales[:, None]
            image = splat.rasterization(
                scene.means,
                None,
                None,
                scene.opacities,
                scene.colors,
                *scene.views,
                covars=factors @ factors.mT,
                backgrounds=scene.backgrounds,
            )[0]
        image.square().sum().backward()
        results.append((image.detach(), scene.quats.grad, scene.scales.grad, scene.means.grad))
    for direct, through in zip(*results, strict=True):
        scale = float(direct.abs().max())
        torch.testing.assert_close(direct, through, rtol=0, atol=1e-3 * scale)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("render_mode", ["RGB", "RGB+ED"])
def test_values_beside_harmonics(render_mode, packed, device):
    """Channels beside colours from harmonics are what they would be alone, over 0; depth stays last."""
    scene = random_gaussians(14, sh_degree=2, spread=1.5).to(torch.float32).to(device)
    values = torch.rand(80, 4, generator=torch.Generator().manual_seed(0)).to(device)
    options = {"sh_degree": 2, "packed": packed, "render_mode": render_mode}
    image, alpha, _ = scene.render(splat.rasterization, values=values, **options)
    plain, plain_alpha, _ = scene.render(splat.rasterization, **options)
    alone = splat.rasterization(*scene.geometry, values, *scene.views)[0]
    expected = torch.cat([plain[..., :3], alone, plain[..., 3:]], -1)
    torch.testing.assert_close(image, expected, rtol=0, atol=5e-6)
    torch.testing.assert_close(alpha, plain_alpha, rtol=0, atol=1e-6)


def test_values_without_harmonics_are_refused():
    scene = random_gaussians(14)
    with pytest.raises(ValueError, match="values: only beside spherical harmonics"):
        scene.render(splat.rasterization, values=torch.rand(80, 4))
