"""The contenders of the gathering benchmark find the same features."""

from benchmarks import gather


def test_contenders_find_the_same_features():
    scenes = {
        "narrow": gather.random_scene(2, ((8, 3),), lookups=400),
        "wide": gather.random_scene(2, ((8, 20),), lookups=400),
        "pyramid": gather.random_scene(1, ((8, 3), (16, 5)), lookups=400),
    }
    table = gather.contest("small", scenes, seconds=0.02)
    assert len(table.rows) == len(scenes) * len(gather.CONTENDERS)
    for row in table.rows:
        assert row["both ms"] > 0
        assert row["difference"] <= 1e-4
    assert "semaflow, channels last" in str(table)
