"""The demo's pictures, where they can be drawn and where they cannot."""

import sys

import pytest
from PIL import Image
from semaflow.scenes import BadInput
from semaflow.tasks import view
from semaflow.tasks.demo import pictures
from semaflow.tasks.select import select
from semaflow.tasks.targets import targets

from tests.tasks.doubles import BallsField, BallsRun


@pytest.fixture
def picked(tmp_path):
    """A run, and an object of it."""
    run = BallsRun(tmp_path / "run", BallsField())
    _, pixel = targets(run.scene)[0].click(run.scene.split("train"))
    return run, select(run, "red", click=pixel)


def test_without_a_viewer_the_screenshot_is_left_out(picked, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "polyscope", None)
    pictures(*picked, tmp_path)
    told = capsys.readouterr().out
    assert told.count("\n") == 1 and told.startswith("the screenshot is left out: needs polyscope")
    assert not (tmp_path / "trajectories.png").exists()
    assert Image.open(tmp_path / "contact_sheet.png").size[0] > 4 * picked[0].scene.cameras[0].width


def test_a_screenshot_that_cannot_be_saved_is_an_error(picked, tmp_path, monkeypatch):
    def full(*_):
        raise BadInput("trajectories.png: could not be written")

    monkeypatch.setattr(view, "trajectory_screenshot", full)
    with pytest.raises(BadInput, match="could not be written"):
        pictures(*picked, tmp_path)
