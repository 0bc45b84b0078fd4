"""The strongest Gaussians of each pixel."""

import pytest
import torch
from semaflow.kernels import splat

from tests.reference import splat as oracle
from tests.reference.gaussians import DEVICES, random_gaussians


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("k", [1, 2, 4, 8])
@pytest.mark.parametrize("seed", range(2))
def test_matches_the_reference(seed, k, device):
    """Weights are the k largest, strongest first; the ids are theirs wherever two weights do not
    tie."""
    scene = random_gaussians(80 + seed)
    ours = scene.to(torch.float32).to(device)
    ids, weights = splat.contributors(*ours.geometry, *ours.views, k=k)
    expected_ids, expected = oracle.contributors(*scene.geometry, *scene.views, k=k + 1)
    certain = scene.render(oracle.rasterization)[2]["certain"]
    assert ids.shape == weights.shape == (2, 21, 37, k)
    assert float(((weights.cpu() - expected[..., :k]).abs() * certain).max()) < 1e-5
    gap = expected[..., :-1] - expected[..., 1:]
    clear = certain & ((gap > 1e-5) | (expected[..., 1:] == 0))
    clear = clear & torch.cat([torch.ones_like(clear[..., :1]), clear[..., :-1]], -1)
    assert clear.double().mean() > 0.8
    assert torch.equal(ids.cpu()[clear], expected_ids[..., :k][clear])


@pytest.mark.parametrize("device", DEVICES)
def test_all_contributors_add_up_to_alpha(device):
    scene = random_gaussians(82, count=20).to(torch.float32).to(device)
    ids, weights = splat.contributors(*scene.geometry, *scene.views, k=20)
    alpha = scene.render(splat.rasterization)[1][..., 0]
    torch.testing.assert_close(weights.sum(-1), alpha, rtol=0, atol=2e-6)
    assert (weights[..., :-1] >= weights[..., 1:]).all()
    assert torch.equal(ids < 0, weights == 0)
    assert ((ids >= -1) & (ids < 20)).all()
    same = (ids[..., :, None] == ids[..., None, :]) & (ids >= 0)[..., None]
    assert (same.sum(-1) <= 1).all(), "a Gaussian is listed twice"


@pytest.mark.parametrize("device", DEVICES)
def test_rendering_from_the_list(device):
    """Colours blended from ids and weights alone are the image."""
    scene = random_gaussians(83, count=25).to(torch.float32).to(device)
    ids, weights = splat.contributors(*scene.geometry, *scene.views, k=25)
    image = splat.rasterization(*scene.geometry, scene.colors, *scene.views)[0]
    blended = (weights[..., None] * scene.colors[ids.long().clamp_min(0)]).sum(-2)
    torch.testing.assert_close(blended, image, rtol=0, atol=5e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_hidden_and_missing(device):
    """Of three on one axis the front one is opaque, so no pixel of the middle names another; an
    empty scene names none."""
    means = torch.tensor([[0.0, 0, 3], [0, 0, 2], [0, 0, 4]], device=device)
    quats = torch.tensor([1.0, 0, 0, 0], device=device).repeat(3, 1)
    view = torch.eye(4, device=device)[None]
    K = torch.tensor([[[10.0, 0, 2.5], [0, 10, 2.5], [0, 0, 1]]], device=device)
    inputs = (
        means,
        quats,
        means[:, 2:] / 10 * torch.ones(1, 3, device=device),
        torch.ones(3, device=device),
    )
    ids, weights = splat.contributors(*inputs, view, K, 5, 5, k=3)
    assert ids[0, 2, 2].tolist() == [1, -1, -1]
    assert weights[0, 2, 2].tolist() == pytest.approx([0.999, 0, 0], abs=1e-6)
    none = tuple(x[:0] for x in inputs)
    ids, weights = splat.contributors(*none, view, K, 5, 5, k=2)
    assert (ids == -1).all()
    assert float(weights.abs().max()) == 0


@pytest.mark.parametrize("device", DEVICES)
def test_order_of_gaussians_does_not_matter(device):
    scene = random_gaussians(84).to(torch.float32).to(device)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0)).to(device)
    shuffled = scene.subset(order)
    ids, weights = splat.contributors(*scene.geometry, *scene.views, k=5)
    ids_again, weights_again = splat.contributors(*shuffled.geometry, *shuffled.views, k=5)
    assert torch.equal(weights, weights_again)
    assert torch.equal(ids, torch.where(ids_again >= 0, order[ids_again.clamp_min(0)], -1))
