"""Taichi behind the bridge: started once, quiet, usable from any thread, and no hang after a fork."""

import multiprocessing
import subprocess
import sys
import threading

import pytest
import torch
from semaflow.kernels import bridge

from tests.reference.taichi_kernels import add


def test_a_kernel_works_on_torchs_memory():
    x = torch.arange(10.0)
    address = x.data_ptr()
    bridge.call(add, x, 2.0)
    assert x.data_ptr() == address and torch.equal(x, torch.arange(10.0) + 2)


def test_threads_take_turns():
    x = torch.zeros(1000)

    def work():
        for _ in range(50):
            bridge.call(add, x, 1.0)

    crew = [threading.Thread(target=work) for _ in range(4)]
    for worker in crew:
        worker.start()
    for worker in crew:
        worker.join()
    assert torch.equal(x, torch.full((1000,), 200.0))


def _child(queue):
    x = torch.zeros(3)
    try:
        bridge.call(add, x, 1.0)
        queue.put(x.tolist())
    except RuntimeError as error:
        queue.put(str(error))


@pytest.mark.parametrize(("method", "answer"), [("fork", "use the start method 'spawn'"), ("spawn", [1.0, 1.0, 1.0])])
def test_a_child_process_works_or_says_why_not(method, answer):
    bridge.call(add, torch.zeros(3), 1.0)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    said = queue.get(timeout=60)
    child.join()
    assert said == answer if isinstance(answer, list) else answer in said


def test_it_starts_when_asked_for_and_prints_nothing():
    code = (
        "import sys, torch; from semaflow.kernels import bridge, notice; assert 'taichi' not in sys.modules; "
        "notice.PATIENCE = 60; "
        "from tests.reference.taichi_kernels import add; bridge.call(add, torch.zeros(3), 1.0); "
        "assert bridge.ti.cfg.cpu_max_num_threads == bridge.threads()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""
