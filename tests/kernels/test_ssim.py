"""Structural similarity and absolute difference, and their gradient, against their definition."""

import pytest
import torch
from semaflow.fields import losses
from semaflow.fields.losses import photometric
from semaflow.kernels import bridge

from tests.reference import losses as reference
from tests.reference.gaussians import DEVICES


def images(seed, shape=(40, 52, 3)):
    g = torch.Generator().manual_seed(seed)
    a = torch.rand(shape, generator=g, dtype=torch.float64)
    return a, (a + 0.2 * torch.randn(shape, generator=g, dtype=torch.float64)).clamp(0, 1)


def valued(loss, a, b, *rest):
    """A loss and its gradient in ``a``."""
    a = a.clone().requires_grad_()
    value = loss(a, b, *rest)
    value.backward()
    return value.detach().double().cpu(), a.grad.double().cpu()


# Narrower and lower than the window, one pixel, whole and broken vectors of values, one channel and four.
SHAPES = [(40, 52, 3), (16, 17, 3), (3, 50, 1), (33, 4, 4), (1, 1, 3), (9, 64, 1)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("weight", [0.2, 1.0, 0.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_loss_equals_its_definition(shape, weight, device):
    a, b = images(3, shape)
    value, gradient = valued(reference.photometric, a, b, weight)
    size = gradient.abs().max()
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-6)):
        found, slope = valued(photometric, a.to(device, dtype), b.to(device, dtype), weight)
        assert abs(found - value) < tolerance
        assert (slope - gradient).abs().max() < tolerance * size * 10


def test_convolutions_of_other_devices_equal_the_kernel():
    """What CUDA devices compute, on the CPU."""
    a, b = images(4)
    value, gradient = valued(lambda a, b: 1 - losses._similarity(a, b), a, b)
    found, slope = valued(lambda a, b: photometric(a, b, 1.0), a, b)
    torch.testing.assert_close(found, value, rtol=0, atol=1e-12)
    torch.testing.assert_close(slope, gradient, rtol=0, atol=1e-12)


def test_loss_is_the_same_on_any_number_of_threads(monkeypatch):
    a, b = (x.float() for x in images(6))
    alone = valued(photometric, a, b)
    monkeypatch.setattr(bridge, "threads", lambda: 3)
    together = valued(photometric, a, b)
    assert torch.equal(alone[0], together[0]) and torch.equal(alone[1], together[1])


def test_loss_takes_images_that_do_not_lie_in_order_in_memory():
    a, b = images(7)
    value, gradient = valued(photometric, a, b)
    turned = [x.permute(2, 0, 1).contiguous().permute(1, 2, 0) for x in (a, b)]
    found, slope = valued(photometric, *turned)
    assert torch.equal(found, value) and torch.equal(slope, gradient)
