"""Lifting 2D maps onto Gaussians: the rasterizer's adjoint."""

import pytest
import torch
from semaflow.kernels import splat

from tests.reference import splat as oracle
from tests.reference.gaussians import DEVICES, random_gaussians
from tests.reference.gradients import assert_gradients_close, finite_differences


def maps_for(scene, channels, seed=0):
    shape = (len(scene.viewmats), scene.height, scene.width, channels)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(scene.means)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 3, 16, 70, 384])
def test_sums_are_the_adjoint_of_rendering(channels, device):
    """<render(f), map> = <f, uplift(map)> for any features f and any map."""
    scene = random_gaussians(70).to(torch.float32).to(device)
    maps = maps_for(scene, channels)
    features = torch.randn(80, channels, generator=torch.Generator().manual_seed(1)).to(device)
    image = splat.rasterization(*scene.geometry, features, *scene.views)[0]
    sums, _ = splat.uplift(*scene.geometry, maps, scene.viewmats, scene.Ks, normalize=False)
    assert sums.shape == (80, channels)
    left, right = (image.double() * maps).sum(), (features.double() * sums).sum()
    assert float(left) == pytest.approx(
        float(right), abs=1e-4 * float((image.double() * maps).norm())
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [3, 40])
@pytest.mark.parametrize("seed", range(2))
def test_matches_the_reference(seed, channels, device):
    """Sums, weights and averages; Gaussians that lie on a pixel whose cut-offs rounding may flip
    get some slack."""
    scene = random_gaussians(71 + seed, spread=1.3)
    maps = maps_for(scene, channels)
    expected, expected_weights = oracle.uplift(*scene.geometry, maps, scene.viewmats, scene.Ks)
    ours = scene.to(torch.float32).to(device)
    inputs = (*ours.geometry, maps.float().to(device), ours.viewmats, ours.Ks)
    sums, weights = splat.uplift(*inputs, normalize=False)
    assert weights.shape == (80,)
    uncertain = (~scene.render(oracle.rasterization)[2]["certain"]).sum()
    slack = 0.01 * float(uncertain) * float(maps.abs().max())
    for actual, truth in ((sums, expected), (weights, expected_weights)):
        error = (actual.cpu() - truth).abs()
        scale = float(truth.abs().max())
        assert float(error.max()) < 1e-5 * scale + slack
        assert float(error.median()) < 1e-5 * scale
    means, same_weights = splat.uplift(*inputs)
    assert torch.equal(weights, same_weights)
    seen = weights > 1e-3
    torch.testing.assert_close(
        means[seen], sums[seen] / weights[seen][:, None], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("device", DEVICES)
def test_constant_map_gives_constant_features(device):
    scene = random_gaussians(73, spread=1.5).to(torch.float32).to(device)
    value = torch.tensor([0.3, -2.0, 7.0, 0.0], device=device)
    maps = value.expand(2, scene.height, scene.width, 4)
    features, weights = splat.uplift(*scene.geometry, maps, scene.viewmats, scene.Ks)
    seen = weights > 0
    assert seen.any()
    assert not seen.all(), "the scene should have Gaussians that no camera sees"
    torch.testing.assert_close(
        features[seen], value.expand(int(seen.sum()), 4), rtol=2e-5, atol=1e-6
    )
    assert float(features[~seen].abs().max()) == 0


@pytest.mark.parametrize("device", DEVICES)
def test_weights_sum_to_alpha(device):
    scene = random_gaussians(74).to(torch.float32).to(device)
    _, weights = splat.uplift(*scene.geometry, maps_for(scene, 1), scene.viewmats, scene.Ks)
    alpha = scene.render(splat.rasterization)[1]
    assert float(weights.double().sum()) == pytest.approx(float(alpha.double().sum()), rel=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_frames_add_up(device):
    """Lifting two frames at once is lifting each and adding: what lets a long video stream
    through."""
    scene = random_gaussians(75).to(torch.float32).to(device)
    maps = maps_for(scene, 5)
    sums, weights = splat.uplift(*scene.geometry, maps, scene.viewmats, scene.Ks, normalize=False)
    parts = [
        splat.uplift(
            *scene.geometry,
            maps[i : i + 1],
            scene.viewmats[i : i + 1],
            scene.Ks[i : i + 1],
            normalize=False,
        )
        for i in range(2)
    ]
    torch.testing.assert_close(sums, parts[0][0] + parts[1][0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weights, parts[0][1] + parts[1][1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_sums_are_the_gradient_of_rendering(device):
    """By autograd and by finite differences of the image in the colours, which is linear in them."""
    scene = random_gaussians(77, count=10).to(torch.float64).to(device)
    maps = maps_for(scene, 3)
    sums, _ = splat.uplift(*scene.geometry, maps, scene.viewmats, scene.Ks, normalize=False)

    def loss(colors):
        return (splat.rasterization(*scene.geometry, colors, *scene.views)[0] * maps).sum()

    colors = scene.colors.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(colors), colors)
    assert_gradients_close(sums, gradient, 1e-12)
    with torch.no_grad():
        assert_gradients_close(sums, finite_differences(loss, scene.colors, 1e-3), 1e-8)


@pytest.mark.parametrize("device", DEVICES)
def test_order_of_gaussians_does_not_matter(device):
    scene = random_gaussians(78).to(torch.float32).to(device)
    maps, order = maps_for(scene, 5), torch.randperm(80, generator=torch.Generator().manual_seed(0)).to(device)
    found, again = (
        splat.uplift(*case.geometry, maps, scene.viewmats, scene.Ks) for case in (scene, scene.subset(order))
    )
    for a, b in zip(found, again, strict=True):
        assert torch.equal(a[order], b)


@pytest.mark.parametrize("device", DEVICES)
def test_bad_and_missing_gaussians(device):
    scene = random_gaussians(76, count=20).to(torch.float32).to(device)
    maps = maps_for(scene, 3)
    keep = torch.arange(20, device=device) != 4
    healthy = scene.subset(keep)
    expected, expected_weights = splat.uplift(*healthy.geometry, maps, scene.viewmats, scene.Ks)
    scene.means[4] = float("nan")
    features, weights = splat.uplift(*scene.geometry, maps, scene.viewmats, scene.Ks)
    assert torch.equal(features[keep], expected)
    assert torch.equal(weights[keep], expected_weights)
    assert float(features[4].abs().max()) == 0
    assert float(weights[4]) == 0
    none = scene.subset(slice(0, 0))
    features, weights = splat.uplift(*none.geometry, maps, scene.viewmats, scene.Ks)
    assert features.shape == (0, 3)
    assert weights.shape == (0,)
