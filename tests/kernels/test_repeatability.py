"""On the CPU every kernel gives the same bits in every process, on any number of threads."""

import os
import subprocess
import sys


def test_same_bits_every_time_and_with_any_number_of_threads(pytestconfig):
    found = [
        subprocess.run(
            [sys.executable, "-m", "tests.reference.every_kernel"],
            cwd=pytestconfig.rootpath, stdout=subprocess.PIPE, text=True, check=True, timeout=600,
            env={**os.environ, "SEMAFLOW_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)},
        ).stdout.splitlines()
        for threads in (1, 1, 2)
    ]  # fmt: skip
    assert len(found[0]) == 18
    for name, other in (("another process", found[1]), ("two threads", found[2])):
        assert other == found[0], name
