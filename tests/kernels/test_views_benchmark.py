"""The benchmark of views compares pictures that agree."""

import pytest

from benchmarks import views
from benchmarks.splat import random_scene


def test_what_is_kept_of_a_view_and_what_it_draws():
    scene = random_scene(800, 75, 50, 6.0)
    table = views.reuse(scene, "small", seconds=0.02)
    assert [row["what"] for row in table.rows] == 3 * ["picture", "uplift"] + ["contributors, k=4"]
    assert all(row["times faster"] == pytest.approx(row["own ms"] / row["of a view ms"]) for row in table.rows)
    masks = views.masks(scene, "small", seconds=0.02)
    errors = {row["kept"]: row["largest error"] for row in masks.rows}
    assert errors["the view"] == 0 and errors["all weights, a sparse matrix"] < 1e-5
    assert errors["the 4 strongest"] > errors["the 16 strongest"]
    assert all(row["MiB"] > 0 for row in masks.rows)
