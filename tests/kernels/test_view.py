"""A view of Gaussians, made once: whatever is drawn of it is what is drawn without it."""

import pytest
import torch
from semaflow.kernels import splat

from tests.reference import splat as oracle
from tests.reference.gaussians import DEVICES, random_gaussians
from tests.reference.gradients import assert_gradients_close

CHANNELS = (1, 3, 20, 35)


def one_camera(seed, device, dtype=torch.float32, **options):
    return random_gaussians(seed, cameras=1, **options).to(dtype).to(device)


def view_of(scene, **options):
    return splat.view(*scene.geometry, scene.viewmats[0], scene.Ks[0], scene.width, scene.height, **options)


def channel_sets(scene, widths=CHANNELS):
    g = torch.Generator().manual_seed(0)
    return [torch.rand(len(scene.means), width, generator=g).to(scene.means) for width in widths]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"camera_model": "ortho"},
        {"rasterize_mode": "antialiased", "eps2d": 0.5, "near_plane": 3.0, "far_plane": 5.0, "radius_clip": 1.0},
    ],
    ids=["plain", "ortho", "all the rest"],
)
@pytest.mark.parametrize("packed", [True, False])
def test_same_bits_as_pictures_made_one_by_one(packed, options, device):
    scene = one_camera(90, device)
    view = view_of(scene, **options)
    for colors in channel_sets(scene):
        background = colors[0]
        image, alpha = view.render(colors, background)
        expected, expected_alpha, _ = splat.rasterization(
            *scene.geometry, colors, *scene.views, backgrounds=background[None], packed=packed, **options
        )
        assert image.shape == (scene.height, scene.width, colors.shape[1]) and float(alpha.max()) > 0.5
        assert torch.equal(image, expected[0]) and torch.equal(alpha, expected_alpha[0, ..., 0])


@pytest.mark.parametrize("device", DEVICES)
def test_same_bits_as_maps_and_weights_one_by_one(device):
    scene = one_camera(91, device)
    view = view_of(scene)
    for width in CHANNELS:
        g = torch.Generator().manual_seed(width)
        maps = torch.randn(scene.height, scene.width, width, generator=g).to(device)
        for normalize in (True, False):
            expected = splat.uplift(*scene.geometry, maps[None], scene.viewmats, scene.Ks, normalize=normalize)
            for found, truth in zip(view.uplift(maps, normalize), expected, strict=True):
                assert torch.equal(found, truth) and float(found.abs().max()) > 0
    strongest = splat.contributors(*scene.geometry, *scene.views, k=5)
    for found, truth in zip(view.contributors(k=5), strongest, strict=True):
        assert torch.equal(found, truth[0])
    for found, truth in zip(view.cell_weights(), splat.cell_weights(*scene.geometry, *scene.views), strict=True):
        assert torch.equal(found, truth) and len(found) > 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("degree", [0, 3])
def test_harmonics_and_depth_are_channels_like_others(degree, device):
    scene = one_camera(92, device, sh_degree=3)
    view = view_of(scene, sh=scene.colors, sh_degree=degree)
    (values,) = channel_sets(scene, (5,))
    image, alpha = view.render(torch.cat([view.colors, values, view.depths[:, None]], 1))
    expected, expected_alpha, _ = splat.rasterization(
        *scene.geometry, scene.colors, *scene.views, sh_degree=degree, values=values, render_mode="RGB+D"
    )
    assert torch.equal(image, expected[0]) and torch.equal(alpha, expected_alpha[0, ..., 0])
    assert view_of(scene).colors is None


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 2e-4)])
def test_gradients_of_all_pictures_together(dtype, tolerance, device):
    """One backward through several pictures of one view, against as many of the reference's."""
    names = ("means", "quats", "scales", "opacities", "viewmats")
    scene = random_gaussians(93, cameras=1)
    sets = channel_sets(scene, (1, 20))

    def losses(pictures, certain):
        for number, (image, alpha) in enumerate(pictures):
            g = torch.Generator().manual_seed(number)
            weights = (torch.randn(x.shape, generator=g, dtype=torch.float64) for x in (image, alpha))
            yield sum((x * w.to(x) * certain.to(x)).sum() for x, w in zip((image, alpha), weights, strict=True))

    reference = scene.leaves(*names)
    found = [oracle.rasterization(*reference.geometry, colors, *reference.views) for colors in sets]
    certain = found[0][2]["certain"][0]
    sum(losses([(image[0], alpha[0]) for image, alpha, _ in found], certain)).backward()
    ours = scene.to(dtype).to(device).leaves(*names)
    view = view_of(ours)
    pictures = (view.render(colors.to(dtype).to(device)) for colors in sets)
    sum(losses([(image, alpha[..., None]) for image, alpha in pictures], certain)).backward()
    for name in names:
        assert_gradients_close(getattr(ours, name).grad, getattr(reference, name).grad, tolerance, name)


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_of_colors_and_background_are_those_of_one_picture(device):
    scene = one_camera(94, device)
    for values in channel_sets(scene):
        found = []
        for render in (
            lambda colors, behind: view_of(scene).render(colors, behind),
            lambda colors, behind: splat.rasterization(
                *scene.geometry, colors, *scene.views, packed=False, backgrounds=behind[None]
            )[:2],
        ):
            leaves = [values.clone().requires_grad_(True), values[1].clone().requires_grad_(True)]
            image, alpha = render(*leaves)
            found.append(torch.autograd.grad(image.square().sum() + alpha.sum(), leaves))
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("device", DEVICES)
def test_one_graph_or_none(device):
    """Pictures drawn after the view's graph is gone say so; a view without gradients has no graph."""
    scene = one_camera(95, device).leaves("means")
    view = view_of(scene)
    view.render(scene.colors.detach())[0].sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        view.render(scene.colors.detach())[0].sum().backward()
    with torch.no_grad():
        still = view_of(scene)
    assert not still.depths.requires_grad and not still.render(scene.colors.detach())[0].requires_grad
    assert not any(x.requires_grad for x in (*view.contributors(), *view.cell_weights()))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_color_that_is_no_number_is_left_out_of_its_own_picture(bad, device):
    scene = one_camera(96, device)
    view = view_of(scene)
    for colors in channel_sets(scene):
        image, alpha = view.render(colors)
        dirty = colors.clone()
        dirty[::3, -1] = bad
        seen, seen_alpha = view.render(dirty)
        expected, expected_alpha, _ = splat.rasterization(*scene.geometry, dirty, *scene.views)
        assert torch.equal(seen, expected[0]) and torch.equal(seen_alpha, expected_alpha[0, ..., 0])
        assert seen.isfinite().all() and not torch.equal(seen_alpha, alpha)
        assert torch.equal(view.render(colors)[0], image), "the view itself was changed"


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_to_see(device):
    scene = one_camera(97, device).subset(slice(0))
    view = view_of(scene)
    image, alpha = view.render(scene.colors, torch.ones(3, device=device))
    assert len(view) == 0 and (image == 1).all() and (alpha == 0).all()
    assert (view.contributors()[0] == -1).all() and len(view.cell_weights()[0]) == 0
    assert view.uplift(torch.ones(scene.height, scene.width, 2, device=device))[0].shape == (0, 2)


def test_covariances_instead_of_scales_and_rotations():
    scene = one_camera(98, "cpu")
    covars = torch.eye(3).repeat(len(scene.means), 1, 1) * 0.02
    cameras = (scene.viewmats[0], scene.Ks[0], scene.width, scene.height)
    image, _ = splat.view(scene.means, None, None, scene.opacities, *cameras, covars=covars).render(scene.colors)
    expected, _, _ = splat.rasterization(
        scene.means, None, None, scene.opacities, scene.colors, *scene.views, covars=covars
    )
    assert torch.equal(image, expected[0])


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("viewmat", lambda scene: splat.view(*scene.geometry, scene.viewmats, *scene.views[1:])),
        ("K", lambda scene: splat.view(*scene.geometry, scene.viewmats[0], *scene.views[1:])),
        ("means", lambda scene: splat.view(scene.means[:, :2], *scene.geometry[1:], torch.eye(4), torch.eye(3), 8, 8)),
        ("sh, sh_degree", lambda scene: view_of(scene, sh=torch.zeros(80, 4, 3))),
        ("sh", lambda scene: view_of(scene, sh=torch.zeros(80, 3, 3), sh_degree=1)),
        ("colors", lambda scene: view_of(scene).render(scene.colors[1:])),
        ("background", lambda scene: view_of(scene).render(scene.colors, scene.backgrounds)),
        ("maps", lambda scene: view_of(scene).uplift(torch.zeros(scene.width, scene.height, 3))),
        ("k", lambda scene: view_of(scene).contributors(0)),
    ],
)
def test_what_makes_no_sense_says_so(name, call):
    with pytest.raises(ValueError, match=f"^{name}: "):
        call(one_camera(0, "cpu"))


def test_degrees_that_are_not_supported_say_so():
    scene = one_camera(0, "cpu")
    with pytest.raises(NotImplementedError, match="sh_degree"):
        view_of(scene, sh=torch.zeros(80, 25, 3), sh_degree=4)
