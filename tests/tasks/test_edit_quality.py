"""The measure of edits, on fields whose pictures are known."""

import pytest
from semaflow.fields.rendering import Rendering
from semaflow.scenes import BadInput, simulate
from semaflow.tasks.edit_quality import edit_quality

from tests.reference.worlds import built

OPTIONS = {"frames": 3, "test": 2, "width": 64, "height": 36, "samples": 1}


class Filmed:
    """Shows what was filmed, the second film if it is edited, but for an error of 0.1 where that changes anything."""

    def __init__(self, before, after):
        self.films, self.edit = (before, after), "edited"

    def render(self, camera, time):
        frames = [next(f for f in film.frames if f.camera is camera or f.time == time and f.camera.viewmat.equal(
            camera.viewmat)) for film in self.films]
        image = frames[0].image
        if self.edit is not None:
            differs = (frames[1].image - image).abs().amax(-1, keepdim=True) > 0.02
            image = frames[1].image + 0.1 * differs * (1 - 2 * (frames[1].image > 0.5).float())
        return Rendering(camera, time, None, color=image)


@pytest.fixture(scope="module")
def films():
    return simulate(built("balls"), **OPTIONS), simulate(built("balls").without("red ball"), **OPTIONS)


def test_what_counts_is_where_the_films_differ(films):
    field = Filmed(*films)
    figures = edit_quality(field, *films, ["red ball"])
    assert field.edit == "edited"
    assert figures["region"]["psnr"] == pytest.approx(20.0, abs=0.01)
    assert figures["region"]["unedited"] < 20
    assert figures["region"]["original"] == 100.0
    assert figures["rest"]["psnr"] > 45
    red = films[0].label_names.index("red ball")
    assert figures["object"]["pixels"] == sum(int((f.label == red).sum()) for f in films[0].split("test"))
    assert figures["region"]["pixels"] > figures["object"]["pixels"]  # its shadow


def test_films_that_do_not_fit_are_named(films):
    field = Filmed(*films)
    with pytest.raises(BadInput, match="object 'moon': expected one of"):
        edit_quality(field, *films, ["moon"])
    other = simulate("balls", **{**OPTIONS, "test": 1})
    with pytest.raises(BadInput, match="expected the test frames of balls"):
        edit_quality(field, films[0], other, ["red ball"])
    with pytest.raises(BadInput, match="expected the camera of balls"):
        edit_quality(field, films[0], simulate("balls", seed=3, **OPTIONS), ["red ball"])
