"""The benchmark of perception fields measures all its parts, row by row, and goes on where it was."""

import dataclasses
import json

import pytest
import torch
from semaflow.fields.perception import config
from semaflow.scenes import simulate
from semaflow.scenes.files import read_json

from benchmarks import data, perception, perception_captures, rooms, table


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Networks that learn nothing, of rooms that show nothing, in no time."""
    folder = tmp_path_factory.mktemp("benchmark")
    budget = perception.Budget(folder, steps=2, tuning=2, rooms=2, unseen=1, frames=6, test=1, width=32, height=24)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perception, "PRESET", "tiny")
        patch.setattr(perception, "ABLATIONS", {name: config.ABLATIONS[name] for name in ("full", "per-pixel head")})
        patch.setattr(table, "RESULTS", folder / "results")
        yield budget


def test_every_row_is_written_when_it_is_there(small):
    rows = perception.measured(small, ("ablation", "tuned"))
    names = [("ablation", "full"), ("ablation", "per-pixel head"), ("tuned", "never seen"), ("tuned", "tuned"),
             ("tuned", "fresh, this room alone")]  # fmt: skip
    assert [(row["part"], row["of"]) for row in rows] == names
    assert all(0 <= row["mIoU"] <= 1 and 3 < row["PSNR"] < 60 and row["train s"] > 0 for row in rows)
    written = json.loads((small.folder / "results" / "perception.json").read_text())
    assert written["tables"][0]["rows"] == rows and all(row["commit"] for row in rows)
    again = perception.measured(small, ("ablation",))
    assert {(row["part"], row["of"]) for row in again} == set(names), "rows of other parts stay"
    text = "\n".join(map(str, perception.tables(again)))
    assert "per-pixel head" in text and "fresh, this room alone" in text


def test_what_was_trained_is_not_trained_again(small, monkeypatch):
    before = perception.network(small)
    monkeypatch.setattr(perception.perceive, "train", None)
    assert perception.network(small).folder == before.folder


def test_things_are_told_apart_by_as_many_slots_as_there_are(small):
    (row,) = perception.instances(small)
    assert int(row["of"].split()[0]) > 5 and 0 <= row["AP@.75"] <= row["AP@.50"] <= 1
    assert set(row) <= set(perception.COLUMNS["instances"])


def test_captures_are_shown_before_and_after_tuning(small, monkeypatch):
    scene = simulate("balls", frames=7, width=40, height=30, samples=1, test=0)
    frames = [frame.with_layers(**dict.fromkeys(("label", "instance", "part", "features"))) for frame in scene.frames]
    bare = dataclasses.replace(scene, frames=frames, tracks=None, label_names=[], train=[0, 1, 2, 4, 5, 6], test=[3])
    bare.save(small.folder / "data" / "capture")
    monkeypatch.setenv("SEMAFLOW_DATA", str(small.folder / "data"))
    assert data.captures() == small.folder / "data"
    rows = list(perception_captures.measured(perception.network(small), small.folder, 2, ("capture",)))
    assert [row["of"] for row in rows] == ["capture, never seen", "capture, tuned"]
    assert all(3 < row["PSNR"] < 60 and row["size"] == "40x30" for row in rows) and 0 <= rows[1]["mask IoU"] <= 1
    assert (small.folder / "pictures" / "capture.png").stat().st_size


def test_a_room_is_filmed_once(small):
    (first,) = rooms.filmed(small.folder, [0], frames=6, test=1, width=32, height=24)
    stamp = (first / "scene.json").stat().st_mtime_ns
    assert rooms.filmed(small.folder, [0], frames=6, test=1, width=32, height=24) == [first]
    assert (first / "scene.json").stat().st_mtime_ns == stamp and read_json(first / "scene.json")["test"] == [6]


def test_a_step_of_the_paper_s_sizes_is_measured(small):
    (place,) = rooms.filmed(small.folder, [0], frames=12, test=0, width=32, height=24)
    row = perception.paper_steps(place, 1, 64)
    assert row["parameters"] > 10**7 and row["s per step"] > 0 and row["MiB"] > 100
    assert row["of"] == "32x24, 64 rays" and row["device"] in ("cpu", "cuda") and torch.is_grad_enabled()
