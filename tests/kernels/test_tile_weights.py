"""How much each Gaussian weighs in each tile."""

import pytest
import torch
from semaflow.kernels import splat

from tests.reference import splat as oracle
from tests.reference.gaussians import DEVICES, random_gaussians

TILE = 16


def by_tile(pixels: torch.Tensor) -> torch.Tensor:
    """Sums of ``pixels`` [C, H, W] over tiles, the last ones cut off by the picture's edge: [C, tiles]."""
    _, height, width = pixels.shape
    padded = torch.nn.functional.pad(pixels, (0, -width % TILE, 0, -height % TILE))
    return padded.unfold(1, TILE, TILE).unfold(2, TILE, TILE).sum((-1, -2)).flatten(1)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(3))
def test_matches_the_reference(seed, device):
    scene = random_gaussians(90 + seed)
    blends = scene.render(oracle.rasterization)[2]["blends"]
    pixels = torch.cat([b.weights.unflatten(1, (scene.height, scene.width)) for b in blends])  # [C * N, H, W]
    expected = by_tile(pixels).unflatten(0, (len(blends), -1)).transpose(1, 2).flatten(0, 1)  # [C * tiles, N]
    ours = scene.to(torch.float32).to(device)
    tiles, gaussians, weights = (x.cpu() for x in splat.tile_weights(*ours.geometry, *ours.views))
    found = torch.zeros(expected.shape, dtype=weights.dtype)
    found[tiles, gaussians] = weights
    torch.testing.assert_close(found.to(expected), expected, rtol=0, atol=2e-4)
    assert len(tiles) == int((found > 0).sum()), "a pair is listed twice, or without weight"
    assert (tiles.diff() >= 0).all()


@pytest.mark.parametrize("device", DEVICES)
def test_times_colours_they_are_the_image(device):
    scene = random_gaussians(93, count=60, channels=5).to(torch.float32).to(device)
    image = scene.render(splat.rasterization, backgrounds=None)[0]
    expected = torch.stack([by_tile(channel) for channel in image.unbind(-1)], -1).flatten(0, 1)
    tiles, gaussians, weights = splat.tile_weights(*scene.geometry, *scene.views)
    found = torch.zeros_like(expected).index_add(0, tiles, weights[:, None] * scene.colors[gaussians])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_to_see(device):
    scene = random_gaussians(94).to(torch.float32).to(device)
    none = (value[:0] for value in scene.geometry)
    assert all(len(value) == 0 for value in splat.tile_weights(*none, *scene.views))
