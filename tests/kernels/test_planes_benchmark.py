"""The contenders of the benchmark of planes find the same features."""

import pytest

from benchmarks import planes
from tests.reference.gaussians import DEVICES


@pytest.mark.parametrize("device", DEVICES)
def test_contenders_find_the_same_features(device):
    scenes = {f"D={dims}": planes.random_scene(300, dims, 16) for dims in (3, 4)}
    table = planes.contest("small", scenes, device, seconds=0.02)
    assert len(table.rows) == len(scenes) * len(planes.CONTENDERS)
    for row in table.rows:
        assert row["both ms"] > 0
        assert row["difference"] <= 1e-3  # lookups by gather shrink the image by 1e-5, so that no place lies outside
