"""Processes that train together: which device each sees, and what is said when that cannot be."""

import os

import pytest
import torch
from semaflow.fields import processes
from semaflow.scenes import BadInput
from semaflow.tasks.__main__ import main
from semaflow.tasks.processes import joined
from semaflow.tasks.visible import see_own_device


@pytest.fixture
def one_of_two(monkeypatch):
    """The environment that torchrun gives the second of two processes on CUDA devices."""
    for name, value in {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SEMAFLOW_DEVICE", "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return monkeypatch


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("4,7", "7"), ("0,GPU-5f,2", "GPU-5f")])
def test_each_process_sees_its_own_device(one_of_two, before, after):
    if before is None:
        one_of_two.delenv("CUDA_VISIBLE_DEVICES")
    else:
        one_of_two.setenv("CUDA_VISIBLE_DEVICES", before)
    see_own_device()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == after


@pytest.mark.parametrize("changed", [{"SEMAFLOW_DEVICE": "cpu"}, {"LOCAL_WORLD_SIZE": "1"}])
def test_others_see_what_they_saw(one_of_two, changed):
    for name, value in {**changed, "CUDA_VISIBLE_DEVICES": "4,7"}.items():
        one_of_two.setenv(name, value)
    see_own_device()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,7"


@pytest.mark.parametrize("seen", ["4", ""])
def test_too_few_devices_are_one_line(one_of_two, capsys, seen):
    one_of_two.setenv("CUDA_VISIBLE_DEVICES", seen)
    assert main(["doctor"]) == 2
    line = f"semaflow: CUDA_VISIBLE_DEVICES: expected a device for each of 2 processes, got {seen!r}\n"
    assert capsys.readouterr().err == line


def test_a_process_that_sees_devices_of_others_is_refused(one_of_two):
    one_of_two.setattr(torch.cuda, "is_available", lambda: True)
    one_of_two.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(BadInput, match="CUDA_VISIBLE_DEVICES: expected one device for each process"), joined():
        pass


def test_a_process_alone_joins_nothing(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with joined():
        assert (processes.rank(), processes.count()) == (0, 1) and not torch.distributed.is_initialized()
