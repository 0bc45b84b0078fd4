"""What ``semaflow doctor`` says of devices. Kernels and viewer are not tried here; they have tests of their own."""

import pytest
import torch
from semaflow.tasks import doctor
from semaflow.tasks.__main__ import main


@pytest.fixture
def rows(monkeypatch, capsys):
    """What the doctor finds, by part."""
    monkeypatch.setattr(doctor, "kernels", lambda: "not tried")
    monkeypatch.setattr(doctor, "viewer", lambda: "not tried")

    def find():
        assert main(["doctor"]) == 0
        lines = [line.split("│") for line in capsys.readouterr().out.splitlines() if line.count("│") == 3]
        return {part.strip(): found.strip() for _, part, found, _ in lines}

    return find


def test_no_device(rows, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("SEMAFLOW_DEVICE", raising=False)
    found = rows()
    assert found["CUDA device"] == "none" and found["fields live on"].startswith("cpu")
    monkeypatch.setenv("SEMAFLOW_DEVICE", "cuda")
    assert "SEMAFLOW_DEVICE: cuda" in rows()["fields live on"]


def test_a_device_that_is_there_but_not_used(rows, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some Device")
    monkeypatch.delenv("SEMAFLOW_DEVICE", raising=False)
    found = rows()
    assert found["CUDA device"] == "Some Device" and found["fields live on"].startswith("cpu")
    monkeypatch.setenv("SEMAFLOW_DEVICE", "cuda")
    assert rows()["fields live on"].startswith("cuda")
