"""Running sums and products along rays against torch in float64."""

import pytest
import torch
from semaflow.kernels import composite

from tests.reference.composite import exclusive_products, random_samples
from tests.reference.gaussians import DEVICES
from tests.reference.gradients import assert_gradients_close, finite_differences

SCANS = {
    "inclusive_sum": lambda x: x.cumsum(0),
    "exclusive_sum": lambda x: x.cumsum(0) - x,
    "inclusive_prod": lambda x: x.cumprod(0),
    "exclusive_prod": exclusive_products,
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SCANS)
def test_scans_match_torch(name, dtype, device):
    """Values and gradients, packed; factors of 0 among the numbers."""
    samples = random_samples(20)
    truth = (1.2 - samples.alphas).mul(samples.alphas < 1).requires_grad_()
    ours = truth.detach().to(device, dtype).requires_grad_()
    expected = torch.cat([SCANS[name](ray) for ray in truth.split(samples.counts)])
    actual = getattr(composite, name)(ours, samples.packed_info.to(device))
    g = torch.randn(len(truth), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected.backward(g)
    actual.backward(g.to(actual))
    tolerance = 1e-6 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(
        actual.detach().cpu().double(), expected.detach(), rtol=0, atol=tolerance * float(expected.detach().abs().max())
    )
    assert_gradients_close(ours.grad, truth.grad, tolerance, name)


@pytest.mark.parametrize("name", SCANS)
def test_batched_scans_run_along_the_last_dimension(name):
    x = torch.randn(2, 3, 7, dtype=torch.float64)
    expected = torch.stack([SCANS[name](row) for row in x.view(6, 7)]).view(2, 3, 7)
    torch.testing.assert_close(getattr(composite, name)(x), expected)
    assert getattr(composite, name)(x[..., :0]).shape == (2, 3, 0)


@pytest.mark.parametrize("name", ["inclusive_prod", "exclusive_prod"])
def test_gradient_of_a_product_with_zeros(name):
    x = torch.tensor([0.5, 0.0, 2.0, 0.0, 3.0], dtype=torch.float64)
    g = torch.arange(1.0, 6, dtype=torch.float64)

    def function(x):
        return (getattr(composite, name)(x, torch.tensor([[0, 3], [3, 2]])) * g).sum()

    leaf = x.clone().requires_grad_()
    function(leaf).backward()
    assert_gradients_close(leaf.grad, finite_differences(function, x, 1e-6), 1e-9)


def test_by_hand():
    x, info = torch.arange(1.0, 10), torch.tensor([[0, 2], [2, 3], [5, 4]])
    assert composite.inclusive_sum(x, info).tolist() == [1, 3, 3, 7, 12, 6, 13, 21, 30]
    assert composite.exclusive_sum(x, info).tolist() == [0, 1, 0, 3, 7, 0, 6, 13, 21]
    assert composite.inclusive_prod(x, info).tolist() == [1, 2, 3, 12, 60, 6, 42, 336, 3024]
    assert composite.exclusive_prod(x, info).tolist() == [1, 1, 1, 3, 12, 1, 6, 42, 336]


def test_long_sums_keep_their_digits():
    """A plain float32 sum of a million tenths is off in the third digit."""
    x = torch.full((10**6,), 0.1)
    assert composite.inclusive_sum(x)[-1].item() == pytest.approx(float(x[0]) * 10**6, rel=1e-7)
