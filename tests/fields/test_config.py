"""Settings: presets, changes by name, clear refusals."""

import pytest
from semaflow.fields.flow import config as flow
from semaflow.fields.gaussians import config as gaussians
from semaflow.fields.gaussians.config import PRESETS, preset
from semaflow.fields.perception import config as perception
from semaflow.kernels.advect.tableaus import METHODS
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


CHOICES = [
    (configs, name) for configs in (flow, gaussians, perception) for name in configs.preset("fast").CHOICES
]  # fmt: skip


@pytest.mark.parametrize(("configs", "name"), CHOICES, ids=[name for _, name in CHOICES])
def test_a_value_that_means_nothing_is_refused_and_the_known_are_named(configs, name):
    config = configs.preset("fast")
    for value in config.CHOICES[name]:
        assert getattr(config.replaced(**{name: value}), name) == value
    wrong = 3 if isinstance(value, int) else value + "s"
    with pytest.raises(BadInput, match=f"setting '{name}': expected one of .*{value}, got {wrong!r}"):
        config.replaced(**{name: wrong})


def test_a_flow_field_knows_all_integrators():
    assert tuple(METHODS) == flow.INTEGRATORS
