"""The splatting benchmarks run, and their contenders agree."""

import pytest
import torch

from benchmarks import sizes, splat


def test_contenders_draw_the_same_image():
    """A compiled rasterizer and torch on a list of pairs share no code with ours. The compiled one rounds the
    projection as ours does, so no pixel may differ; torch may where rounding decides a cut-off."""
    threads = torch.get_num_threads()
    table = splat.contest(splat.random_scene(800, 75, 50, 6.0), "small", (3,), seconds=0.1)
    assert torch.get_num_threads() == threads, "whoever is measured leaves torch its threads"
    if "C++" not in [row["who"] for row in table.rows]:
        pytest.skip("; ".join(table.notes))
    assert [row["who"] for row in table.rows] == ["C++", "semaflow", "torch"]
    for row in table.rows:
        assert row["frame ms"] > 0
    assert table.rows[1]["difference"] <= 1e-4
    assert table.rows[2]["settled"] <= 1e-4
    assert "800 Gaussians" in str(table)


def test_sizes_are_measured_each_in_a_process_of_its_own():
    kept = torch.ones(1 << 30, dtype=torch.uint8)  # what this process holds is not counted to others
    small, large = (400, 48, 32, 4.0, 3), (400, 48, 32, 4.0, 12)
    table, growth = sizes.tables({"channels": [small, large]}, [small], seconds=0.1)
    ours = [row for row in table.rows if row["who"] == "semaflow"]
    assert [row["D"] for row in ours] == [3, 12]  # a size that is asked for twice is measured once
    assert all(row["frame ms"] == row["forward ms"] + row["backward ms"] > 0 for row in ours)
    assert all(50 < row["peak MiB"] < 1000 for row in ours)
    del kept
    assert "semaflow" in [row["who"] for row in growth.rows]
    assert (growth.rows[0]["smallest"], growth.rows[0]["largest"]) == (3, 12)


def test_exponent_is_that_of_a_power():
    assert sizes.exponent([1, 3, 20], [5.0, 5 * 3**1.5, 5 * 20**1.5]) == pytest.approx(1.5)
