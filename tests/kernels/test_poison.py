"""No number, however bad, and no camera crashes a kernel, hangs it, or spoils what it has nothing to do with.

The cases of ``tests/poison`` run in a process of their own, so that a crash and a hang are found out too. The last line
that it printed names the seed: ``python -m tests.poison SEED SEED+1`` repeats it.
"""

import subprocess
import sys
import tempfile

import pytest

CASES, SHORT = 10_000, 300


def run(first: int, end: int, rootpath, seconds: float) -> None:
    command = [sys.executable, "-m", "tests.poison", str(first), str(end)]
    with tempfile.TemporaryFile("w+") as output:
        try:
            code = subprocess.run(
                command, cwd=rootpath, stdout=output, stderr=subprocess.STDOUT, timeout=seconds, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = f"none after {seconds:g} s"
        output.seek(0)
        lines = output.read().splitlines()
    if code != 0:
        at = max((i for i, line in enumerate(lines) if line.startswith("seed ")), default=0)
        pytest.fail(f"exit code {code}\n" + "\n".join(lines[at:]), pytrace=False)
    assert len(lines) >= end - first


def test_poison_harms_nothing_else(pytestconfig):
    run(0, SHORT, pytestconfig.rootpath, 600)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_poison_harms_nothing_else_at_length(part, pytestconfig):
    size = (CASES - SHORT) // 10
    run(SHORT + part * size, SHORT + (part + 1) * size, pytestconfig.rootpath, 3600)
