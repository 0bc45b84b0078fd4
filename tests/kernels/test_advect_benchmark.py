"""The benchmark of advection runs, and its contenders agree."""

import pytest

from benchmarks import advect


def test_contenders_take_the_same_paths():
    pytest.importorskip("torchdiffeq")
    table = advect.contest(advect.random_flow(300, 6, 12, 5), "small", seconds=0.05)
    assert [row["who"] for row in table.rows] == ["semaflow", "torchdiffeq", "torchdiffeq, blended"]
    for row in table.rows[1:]:
        assert row["paths"] < 1e-5
        assert row["gradients"] < 1e-3
    assert "300 particles" in str(table)
