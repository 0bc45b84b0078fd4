"""How much each Gaussian weighs in each cell."""

import pytest
import torch
from semaflow.kernels import splat
from semaflow.kernels.splat import CELL

from tests.reference import splat as oracle
from tests.reference.gaussians import DEVICES, random_gaussians


def by_cell(pixels: torch.Tensor) -> torch.Tensor:
    """Sums of ``pixels`` [C, H, W] over cells, by the pixels of a whole one: [C, cells]."""
    _, height, width = pixels.shape
    padded = torch.nn.functional.pad(pixels, (0, -width % CELL, 0, -height % CELL))
    return padded.unfold(1, CELL, CELL).unfold(2, CELL, CELL).mean((-1, -2)).flatten(1)


@pytest.mark.parametrize("device", DEVICES)
def test_matches_the_reference(device):
    scene = random_gaussians(90)
    blends = scene.render(oracle.rasterization)[2]["blends"]
    pixels = torch.cat([b.weights.unflatten(1, (scene.height, scene.width)) for b in blends])  # [C * N, H, W]
    expected = by_cell(pixels).unflatten(0, (len(blends), -1)).transpose(1, 2).flatten(0, 1)  # [C * cells, N]
    ours = scene.to(torch.float32).to(device)
    cells, gaussians, weights = (x.cpu() for x in splat.cell_weights(*ours.geometry, *ours.views))
    found = torch.zeros(expected.shape, dtype=weights.dtype)
    found[cells, gaussians] = weights
    torch.testing.assert_close(found.to(expected), expected, rtol=0, atol=1e-5)
    assert len(cells) == int((found > 0).sum()), "a pair is listed twice, or without weight"
    assert (cells.diff() >= 0).all()


@pytest.mark.parametrize("device", DEVICES)
def test_times_colours_they_are_the_image(device):
    scene = random_gaussians(93, count=200, channels=5, width=70, height=50).to(torch.float32).to(device)
    image = scene.render(splat.rasterization, backgrounds=None)[0]
    expected = torch.stack([by_cell(channel) for channel in image.unbind(-1)], -1).flatten(0, 1)
    cells, gaussians, weights = splat.cell_weights(*scene.geometry, *scene.views)
    found = torch.zeros_like(expected).index_add(0, cells, weights[:, None] * scene.colors[gaussians])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_to_see(device):
    scene = random_gaussians(94).to(torch.float32).to(device)
    none = [value[:0] for value in scene.geometry]
    assert all(len(value) == 0 for value in splat.cell_weights(*none, *scene.views))


@pytest.mark.parametrize("device", DEVICES)
def test_order_of_gaussians_does_not_matter(device):
    scene = random_gaussians(95).to(torch.float32).to(device)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0)).to(device)

    def dense(case):
        cells, gaussians, weights = splat.cell_weights(*case.geometry, *case.views)
        return torch.zeros(40, 80, device=device).index_put((cells, gaussians), weights)

    assert torch.equal(dense(scene)[:, order], dense(scene.subset(order)))


@pytest.mark.parametrize("device", DEVICES)
def test_sums_over_gaussians_are_the_coverage(device):
    scene = random_gaussians(96).to(torch.float32).to(device)
    cells, _, weights = splat.cell_weights(*scene.geometry, *scene.views)
    expected = by_cell(scene.render(splat.rasterization)[1][..., 0]).flatten()
    found = torch.zeros_like(expected).index_add(0, cells, weights)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
