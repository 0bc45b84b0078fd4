"""What ``make gpu`` does on a CUDA machine, on this one: every table at a small size, a step that fails, the list of
packages to carry there."""

import subprocess
import sys

import pytest
import torch

from benchmarks import advect, composite, gather, gpu, splat, wheels
from benchmarks.table import Table
from tests.reference.gaussians import DEVICES


@pytest.mark.parametrize("device", DEVICES)
def test_splatting_contenders_draw_the_same_image(device):
    table = gpu.contest(splat.random_scene(800, 75, 50, 6.0), "small", (3, 20), device, seconds=0.1)
    assert [row["D"] for row in table.rows if row["who"] == "semaflow"] == [3, 20]
    assert "torch" in [row["who"] for row in table.rows]
    assert all(row["settled"] <= 1e-4 for row in table.rows)


@pytest.mark.parametrize("device", DEVICES)
def test_compositing_contenders_agree(device):
    tables = composite.tables(device, samples=2**10, seconds=0.01)
    assert len(tables) == 5
    for row in (row for table in tables for row in table.rows):
        assert row["both ms"] > 0 and row["torch ms"] > 0
        assert row["difference"] < 1e-5


def test_compositing_takes_another_library_that_has_the_same_functions(monkeypatch):
    """As nerfacc's are, where there is a device."""
    monkeypatch.setattr(composite, "peers", lambda device: {"nerfacc": composite.composite})
    table = composite.tables(samples=2**10, seconds=0.01)[2]
    assert all(row["nerfacc ms"] > 0 and row["x nerfacc"] > 0 for row in table.rows)


@pytest.mark.parametrize("device", DEVICES)
def test_gathering_contenders_agree(device):
    tables = gather.tables(device, lookups=256, seconds=0.01)
    assert len(tables) == 2
    assert all(row["difference"] < 1e-4 for table in tables for row in table.rows)


@pytest.mark.parametrize("device", DEVICES)
def test_advection_contenders_agree(device):
    pytest.importorskip("torchdiffeq")
    (table,) = advect.tables(device, count=200, steps=4, size=8, slices=4, seconds=0.01)
    assert [row["who"] for row in table.rows] == ["semaflow", "torchdiffeq", "torchdiffeq, blended"]
    assert all(row["paths"] < 1e-5 for row in table.rows[1:])


def test_a_world_is_learned_and_measured():
    table = gpu.trained("balls", "tiny", width=48, height=32, frames=8)
    figures = {row["figure"]: row["value"] for row in table.rows}
    assert figures["PSNR, dB"] > 10 and figures["Gaussians"] > 0


def test_a_step_that_fails_keeps_nothing_from_the_others(capsys):
    def broken():
        raise RuntimeError("no memory")

    good = Table("fine", ["x"], [{"x": 1}])
    tables, failed = gpu.all_of({"first": broken, "second": lambda: [good]})
    assert tables == [good] and failed == ["first"]
    shown = capsys.readouterr()
    assert "no memory" in shown.err and "fine" in shown.out
    names = {"splatting", "compositing along rays", "gathering", "planes", "advection", "training"}
    assert names == gpu.steps().keys()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_so_in_one_line():
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu"], cwd=gpu.ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["gpu: torch finds no CUDA device here, so nothing was run"]
    assert not done.stdout


def test_the_packages_to_carry_are_all_but_torch(capsys):
    wheels.main([])
    names = [line.split("==")[0] for line in capsys.readouterr().out.splitlines()]
    assert {"warp-lang", "taichi", "numpy", "pytest", "torchdiffeq", "gsplat", "nerfacc"} <= set(names)
    assert not {"torch", "semaflow", "ruff", "transformers"} & set(names)
    assert not any(name.startswith("nvidia") for name in names)
