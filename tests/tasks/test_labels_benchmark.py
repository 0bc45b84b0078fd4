"""The table of labels, on a world too small to be learned well."""

from benchmarks import labels
from benchmarks.table import Table


def test_every_task_has_a_row(tmp_path):
    world = {"frames": 8, "width": 48, "height": 32, "test": 4}
    rows = labels.measured("balls", tmp_path, "tiny", world, iterations=4, initial_points=200, flow=0)
    table = Table("labels", labels.COLUMNS)
    for row in rows:
        table.add(**row)
        assert 0 <= row["mIoU, test cameras"] <= 1
        assert ("mIoU, training cameras" in row) == (row["task"] != "new views")
    assert [(row["task"], row["labels"]) for row in rows if row["pictures"] == "all"] == [
        ("new views", "100%"), *((task, f"{share}%") for task in ("completion", "following") for share in (25, 50, 75))
    ]
    assert rows[-1]["task"] == "following" and rows[-1]["pictures"] == "seen" and "following" in str(table)
