"""The contenders of the gathering benchmark find the same features."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

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


def test_attention_sees_the_same_whichever_way_features_are_gathered():
    table = gather.attention(samples=240, seconds=0.02, peak=False)
    assert [row["who"] for row in table.rows] == list(gather.CONTENDERS)
    assert all(row["difference"] <= 1e-4 and row["both ms"] > 0 for row in table.rows)


def test_the_peak_of_more_samples_is_higher():
    peaks = []
    for samples in (480, 8160):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            peaks.append(pool.submit(gather.attention_peak, "torch, channels first", samples, "cpu").result())
    assert peaks[0] < peaks[1] and peaks[1] > 8160 * 4 * 83 * 4 / 2**20, "its features alone"
