"""View-dependent colour by spherical harmonics."""

import math

import numpy as np
import pytest
import torch
from semaflow.kernels import splat

from tests.reference import splat as oracle
from tests.reference.gaussians import DEVICES, random_gaussians


def camera_towards_origin(directions):
    """World-to-camera transforms [C, 4, 4] that look along ``directions`` [C, 3] at the origin from
    distance 3."""
    forward = torch.nn.functional.normalize(directions, dim=-1)
    helper = torch.where(
        forward[:, :1].abs() < 0.9, torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
    )
    right = torch.nn.functional.normalize(torch.linalg.cross(helper, forward), dim=-1)
    viewmats = torch.eye(4).repeat(len(forward), 1, 1)
    viewmats[:, :3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], 1)
    viewmats[:, 2, 3] = 3.0
    return viewmats


def evaluate(coefficients, directions, degree, device):
    """The colour [C, 3] that cameras looking along ``directions`` see of one Gaussian with
    ``coefficients`` [K, 3]: a single pixel on its centre, divided by its alpha."""
    viewmats = camera_towards_origin(directions).to(device)
    K = torch.tensor([[5.0, 0, 0.5], [0, 5, 0.5], [0, 0, 1]], device=device).repeat(
        len(viewmats), 1, 1
    )
    image, alpha, _ = splat.rasterization(
        torch.zeros(1, 3, device=device),
        torch.tensor([[1.0, 0, 0, 0]], device=device),
        torch.ones(1, 3, device=device),
        torch.tensor([0.9], device=device),
        coefficients[None].to(device),
        viewmats,
        K,
        1,
        1,
        sh_degree=degree,
    )
    return (image / alpha)[:, 0, 0].cpu()


@pytest.mark.parametrize("device", DEVICES)
def test_values_by_hand(device):
    """Along +z the constant is 1/sqrt(4 pi), the z band sqrt(3/(4 pi)); along +x the x band is the
    negative of that."""
    coefficients = torch.zeros(4, 3)
    coefficients[0, 0] = coefficients[2, 1] = coefficients[3, 2] = 1.0
    seen = evaluate(coefficients, torch.tensor([[0.0, 0, 1], [1, 0, 0]]), 1, device) - 0.5
    constant, linear = math.sqrt(1 / (4 * math.pi)), math.sqrt(3 / (4 * math.pi))
    torch.testing.assert_close(seen[0], torch.tensor([constant, linear, 0.0]), rtol=0, atol=1e-5)
    torch.testing.assert_close(seen[1], torch.tensor([constant, 0.0, -linear]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_basis_is_orthonormal(device):
    """Integrated over the sphere (Gauss-Legendre in z, even steps around; exact for degree 6), the
    sixteen functions have unit length and no overlap."""
    nodes, node_weights = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(5))
    angles = torch.arange(9) * (2 * math.pi / 9)
    z, phi = torch.meshgrid(nodes, angles.double(), indexing="ij")
    flat = (1 - z * z).sqrt()
    directions = torch.stack([flat * phi.cos(), flat * phi.sin(), z], -1).flatten(0, 1).float()
    weights = (node_weights[:, None] * torch.full((1, 9), 2 * math.pi / 9)).flatten()
    values = []
    for i in range(16):
        coefficients = torch.zeros(16, 3)
        coefficients[i] = 0.3  # small enough that no colour is cut off at 0
        values.append((evaluate(coefficients, directions, 3, device)[:, 0] - 0.5) / 0.3)
    values = torch.stack(values).double()
    torch.testing.assert_close(
        values * weights @ values.T, torch.eye(16, dtype=torch.float64), rtol=0, atol=3e-5
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("degree", range(4))
def test_matches_the_reference(degree, device):
    scene = random_gaussians(50 + degree, sh_degree=degree)
    image, _, _ = scene.to(torch.float32).to(device).render(splat.rasterization, sh_degree=degree)
    expected, _, meta = scene.render(oracle.rasterization, sh_degree=degree)
    assert float(((image.cpu() - expected).abs() * meta["certain"]).max()) < 3e-5


@pytest.mark.parametrize("device", DEVICES)
def test_bands_above_the_degree_are_left_alone(device):
    """Degree 1 of sixteen coefficients is degree 1 of its first four, and the rest gets no
    gradient."""
    scene = random_gaussians(54, sh_degree=3).to(torch.float32).to(device).leaves("colors")
    image = scene.render(splat.rasterization, sh_degree=1)[0]
    short = splat.rasterization(
        *scene.geometry,
        scene.colors[:, :4],
        *scene.views,
        sh_degree=1,
        backgrounds=scene.backgrounds,
    )[0]
    assert torch.equal(image, short)
    image.sum().backward()
    assert float(scene.colors.grad[:, :4].abs().max()) > 0
    assert float(scene.colors.grad[:, 4:].abs().max()) == 0


@pytest.mark.parametrize("device", DEVICES)
def test_colors_stop_at_black(device):
    """A colour below zero is shown as zero and takes no gradient."""
    scene = random_gaussians(55, sh_degree=0).to(torch.float32).to(device)
    colors = torch.full_like(scene.colors, -3.0)
    colors[..., 1] = 1.0
    colors.requires_grad_(True)
    image = splat.rasterization(*scene.geometry, colors, *scene.views, sh_degree=0)[0]
    assert float(image.detach()[..., 0].abs().max()) == 0
    assert float(image.detach()[..., 1].max()) > 0.1
    image.sum().backward()
    assert float(colors.grad[..., 0].abs().max()) == 0
    assert float(colors.grad[..., 1].abs().max()) > 0
