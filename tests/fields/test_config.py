"""Settings: presets, changes by name, clear refusals."""

import pytest
from semaflow.fields.gaussians.config import PRESETS, preset
from semaflow.scenes import BadInput


def test_presets_differ_by_one_dial():
    assert PRESETS["tiny"].iterations < PRESETS["fast"].iterations < PRESETS["paper"].iterations == 40_000
    assert PRESETS["paper"].feature_from == 3000
    assert PRESETS["release"].feature_from == 30_000
    assert all(name == config.preset for name, config in PRESETS.items())


def test_settings_are_typed():
    changed = preset("tiny").replaced(iterations="7", absolute_gradient="false", ssim="0.5")
    assert (changed.iterations, changed.absolute_gradient, changed.ssim) == (7, False, 0.5)


@pytest.mark.parametrize(("name", "value"), [("iteration", 3), ("iterations", "many"), ("ssim", None)])
def test_bad_settings_are_named(name, value):
    with pytest.raises(BadInput, match=name):
        preset("tiny").replaced(**{name: value})


def test_unknown_preset_lists_the_known():
    with pytest.raises(BadInput, match="tiny, fast, paper, release"):
        preset("huge")
