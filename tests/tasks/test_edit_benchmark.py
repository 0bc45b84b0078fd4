"""The table of removals, on a world too small to be learned well."""

from benchmarks import edit
from benchmarks.table import Table


def test_both_fields_and_the_film_have_a_row(tmp_path):
    world = {"frames": 8, "width": 64, "height": 36, "test": 2, "samples": 1}
    quick = {"static_iterations": 60, "dynamic_iterations": 60, "samples": 8, "proposals": 8}
    rows = edit.measured(
        "balls", "red ball", tmp_path, "tiny", world, quick, {"iterations": 20, "initial_points": 400, "flow": 0}
    )
    table = Table("edit", edit.COLUMNS)
    for row in rows:
        table.add(**row)
    flow, gaussians, film = rows
    assert (flow["field"], gaussians["field"]) == ("flow", "Gaussians") and "Gaussians" in str(table)
    for row in (flow, gaussians):
        assert all(5 < row[column] < 50 for column in edit.FIGURES)
    assert film["edited"] > film["unedited"] + 3
