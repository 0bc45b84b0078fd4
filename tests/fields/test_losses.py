"""Losses against independent implementations and by hand."""

import numpy as np
import pytest
import torch
from semaflow.fields.losses import area_average, feature_distance, photometric, ssim


def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(40, 52, 3, generator=generator, dtype=torch.float64)
    return a, (a + 0.1 * torch.randn(40, 52, 3, generator=generator, dtype=torch.float64)).clamp(0, 1)


def test_ssim_equals_scikit_image_away_from_the_border():
    metrics = pytest.importorskip("skimage.metrics")
    a, b = pair()
    _, full = metrics.structural_similarity(
        a.numpy(), b.numpy(), channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        data_range=1.0, full=True,
    )
    inner = float(np.asarray(full)[5:-5, 5:-5].mean())
    # On a border of repeated pixels the zero padding matters; compare on a crop whose windows are inside.
    ours = ssim(a, b)
    assert abs(float(ours) - inner) < 0.01


def test_ssim_laws():
    a, b = pair(1)
    assert torch.allclose(ssim(a, a), torch.ones((), dtype=a.dtype))
    assert torch.allclose(ssim(a, b), ssim(b, a))
    assert ssim(a, b) < 0.999


def test_photometric_gradient_by_finite_differences():
    a, b = (x[:12, :13] for x in pair(2))
    a = a.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: photometric(x, b), (a,), eps=1e-7, atol=1e-6)


def test_area_average_by_hand():
    image = torch.arange(8.0).reshape(2, 4, 1)
    assert torch.equal(area_average(image, 1, 2)[0, :, 0], torch.tensor([2.5, 4.5]))
    assert area_average(image, 2, 4) is image


def test_feature_distance_by_hand():
    assert feature_distance(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[0.0, 1.0]]])) == 1.5
