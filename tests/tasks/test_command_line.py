"""The command line: help, exit codes, one-line errors."""

import subprocess
import sys

import pytest
from semaflow.tasks.__main__ import VERBS, main


def lines(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.strip()]


def test_help_names_every_verb(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert verb in capsys.readouterr().out


def test_help_of_fit_shows_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    assert "default: fast" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "nowhere.mp4", "-o", "run"],
        ["fit", "nowhere", "-o", "run", "--set", "iterations"],
        ["select", "norun", "--name", "ball", "--click", "3,4", "--frame", "0"],
        ["track", "norun", "--object", "ball"],
        ["render", "norun"],
        ["edit", "norun", "-o", "run", "--object", "ball", "--remove"],
        ["eval", "norun"],
        ["export", "norun", "--ply", "x.ply"],
        ["view", "norun", "--screenshot", "x.png"],
        ["fit", "--resume", "x", "-o", "norun"],
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    shown = lines(capsys)
    assert len(shown) == 1
    assert shown[0].startswith(f"semaflow {arguments[0]}: ")


def test_unknown_verb_is_exit_code_2():
    process = subprocess.run(
        [sys.executable, "-m", "semaflow.tasks", "levitate"], capture_output=True, text=True, check=False
    )
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
