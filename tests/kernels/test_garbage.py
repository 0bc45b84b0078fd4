"""The search for garbage waits while kernels start, and goes on afterwards."""

import gc
import json
import subprocess
import sys

import pytest
from semaflow.kernels.garbage import put_off
from semaflow.kernels.once import once

PICTURE = """
import gc, json
from semaflow.kernels import splat
import torch
g = torch.Generator().manual_seed(0)
means = torch.randn(50, 3, generator=g) + torch.tensor([0, 0, 5.0])
K = torch.tensor([[[60.0, 0, 32], [0, 60, 32], [0, 0, 1]]])
shape = torch.randn(50, 4, generator=g), torch.full((50, 3), 0.2), torch.full((50,), 0.5)
splat.rasterization(means, *shape, torch.rand(50, 3, generator=g), torch.eye(4)[None], K, 64, 64)
print(json.dumps([gc.get_stats()[2]["collections"], gc.isenabled()]))
"""
COMMAND = """
import gc, json
from semaflow.tasks.__main__ import parser_for
parser_for("render")
print(json.dumps([gc.get_stats()[2]["collections"], gc.isenabled()]))
"""


@pytest.mark.parametrize("code", [PICTURE, COMMAND], ids=["a first picture", "a command"])
def test_nothing_is_searched_through_on_the_way_to(code):
    """Not once are all objects looked at, and the search is not left off."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [0, True]


def test_afterwards_as_before():
    assert gc.isenabled()
    with put_off():
        assert not gc.isenabled()
        with put_off():
            assert not gc.isenabled()
        assert not gc.isenabled(), "what is inside ends the outer one"
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), put_off():
        1 / 0  # noqa: B018
    assert gc.isenabled()
    gc.disable()
    try:
        with put_off():
            pass
        assert not gc.isenabled(), "switched on where somebody had switched it off"
    finally:
        gc.enable()


def test_while_something_is_made_once():
    searching = once(lambda key: gc.isenabled())
    assert searching(1) is False and gc.isenabled()
