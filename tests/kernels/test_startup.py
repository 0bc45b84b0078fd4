"""What is compiled is kept in the user's cache folder, and said while somebody waits for it."""

import subprocess
import sys
import time

import pytest
from semaflow.kernels import notice

from benchmarks import startup

CODE = """
import torch
from semaflow.kernels import bridge, composite
from semaflow.kernels.neighbors import nearest
nearest(torch.rand(5, 3), 1)
{more}
"""
TAICHI = "print(composite.exclusive_sum(torch.ones(2, 3)).sum().item())"


def process(tmp_path, more="", **environment):
    """Standard output and error of a process whose home is an empty folder."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    settings = {"HOME": home, **environment}
    command = ["env", "-u", "WARP_CACHE_PATH", "-u", "XDG_CACHE_HOME", "-u", "TI_OFFLINE_CACHE_FILE_PATH"]
    command += [*(f"{name}={value}" for name, value in settings.items()), sys.executable, "-c", CODE.format(more=more)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_compiled_kernels_are_kept_where_the_user_wants_caches(tmp_path):
    cache = tmp_path / "cache"
    out, said = process(tmp_path, TAICHI, XDG_CACHE_HOME=cache)
    assert out == "6.0\n"
    assert list((cache / "warp").rglob("*neighbors_1*.o")) and list((cache / "taichi").rglob("*.tic"))
    assert list((tmp_path / "home").iterdir()) == []
    lines = said.splitlines()
    assert lines[0].startswith(f"semaflow: compiling kernels for cpu, once: they are kept in {cache}")
    assert len(lines) <= 2 and all(line.startswith("semaflow: compiling kernels") for line in lines)
    assert "for cpu" not in process(tmp_path, XDG_CACHE_HOME=cache)[1], "they are there already"


def test_a_cache_of_warps_own(tmp_path):
    process(tmp_path, WARP_CACHE_PATH=tmp_path / "kernels")
    assert list((tmp_path / "kernels").rglob("*neighbors_1*.o"))
    assert not list((tmp_path / "home").rglob("*.o"))


def test_only_those_who_wait_are_told_and_only_once(monkeypatch, capsys):
    monkeypatch.setattr(notice, "_said", set())
    monkeypatch.setattr(notice, "PATIENCE", 60.0)
    with notice.explained("compiling kernels"):
        pass
    monkeypatch.setattr(notice, "PATIENCE", 0.01)
    for _ in range(2):
        with notice.explained("compiling kernels"):
            time.sleep(0.3)
    with pytest.raises(ZeroDivisionError), notice.explained("failing"):
        1 / 0  # noqa: B018
    time.sleep(0.1)
    assert capsys.readouterr().err == "semaflow: compiling kernels\n"


def test_the_benchmark_compares_first_processes_with_later_ones(monkeypatch):
    """One cold process per cache folder, the others find it filled; the best of each kind is told."""
    code = """
import json, os, pathlib
mark = pathlib.Path(os.environ["XDG_CACHE_HOME"]) / "filled"
print(json.dumps({"render": 1.0 if mark.exists() else 5.0, "cached by": "WARP_CACHE_PATH" in os.environ}))
mark.touch()
"""
    monkeypatch.setenv("WARP_CACHE_PATH", "/nowhere")
    measured = startup.first_picture
    monkeypatch.setattr(
        startup, "first_picture", lambda cache, other=None: {"torch": 2.0} if other else measured(cache, code)
    )
    (table,) = startup.run(cold=2, warm=3)
    render, cached, alone = table.rows
    assert alone == {"seconds": "torch", "warm": 2.0}
    assert (render["cold"], render["warm"]) == (5.0, 1.0) and not cached["warm"]
