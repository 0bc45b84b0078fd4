"""The table of flow fields, on a world too small to be learned well."""

import json
from functools import partial

import pytest
from semaflow.fields.flow.config import BASELINES
from semaflow.tasks import fit_flow as fits

from benchmarks import flow, table

WORLD = {"frames": 8, "width": 48, "height": 32, "test": 4, "samples": 1}
QUICK = {"encoder": "given", "static_iterations": 2, "dynamic_iterations": 2, "samples": 4, "proposals": 4}


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Fits of a few steps, and results in a folder of their own."""
    fit = fits.fit_flow
    methods = {"flow": partial(fit, **QUICK), "point": partial(fit, **{**QUICK, **BASELINES["point"]})}
    monkeypatch.setattr(flow, "PRESET", "tiny")
    monkeypatch.setattr(flow, "METHODS", methods)
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    return tmp_path / "flow.json"


def test_what_a_video_tells_is_found_once_for_all_methods(quick, monkeypatch):
    search, found = fits.targets, []
    monkeypatch.setattr(fits, "targets", lambda *arguments: found.append(1) or search(*arguments))
    with flow.remembered():
        rows = list(flow.measured([("balls", "completion 25%", name) for name in ("flow", "point")], **WORLD))
    assert len(found) == 1 and [row["of"] for row in rows] == ["flow", "point"]
    for row in rows:
        assert 0 <= row["mIoU"] <= 1 and row["PSNR"] > 5
        ends = sorted((row["mIoU"], row["mIoU, training cameras"]))
        assert ends[0] - 0.1 < row["mIoU, all cameras"] < ends[1] + 0.1


def test_a_row_takes_the_place_of_the_one_there_was(quick):
    def row(world, task, of, score):
        return {"world": world, "task": task, "of": of, "mIoU": score, "commit": "a"}

    for made in (
        row("walker", "all labels", "flow", 0.1), row("balls", "adaptation", "adapted, 300 steps", 0.2),
        row("balls", "all labels", "flow", 0.3), row("walker", "all labels", "flow", 0.4),
    ):  # fmt: skip
        flow.kept(made)
    rows = json.loads(quick.read_text())["tables"][0]["rows"]
    assert [(r["world"], r["mIoU"]) for r in rows] == [("balls", 0.3), ("balls", 0.2), ("walker", 0.4)]


def test_rows_are_named_by_how_their_names_begin():
    chosen = [case for case in flow.cases() if flow._named(case, "balls/tracking/flow")]
    assert chosen == [("balls", "tracking 50%", "flow")]
    with pytest.raises(SystemExit, match="no such rows"):
        flow.main(["moon"])
