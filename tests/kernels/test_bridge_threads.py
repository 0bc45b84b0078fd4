"""One setting of threads for all libraries; the same results from many threads and from processes that were spawned."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from semaflow.kernels import bridge, splat
from semaflow.kernels.composite import accumulate_along_rays, inclusive_sum, render_weight_from_density
from semaflow.kernels.neighbors import nearest
from semaflow.kernels.once import once


def started(code, **environment):
    """What a fresh process prints that runs ``code``."""
    command = ["env", *(f"{name}={value}" for name, value in environment.items()), sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("count", ["1", "3"])
def test_one_setting_counts_for_all(count):
    code = """
import cv2
from semaflow.kernels import bridge
from tests.reference.taichi_kernels import add
import scipy.linalg, torch
from threadpoolctl import threadpool_info
bridge.call(add, torch.zeros(3), 1.0)
print(bridge.threads(), torch.get_num_threads(), bridge.ti.cfg.cpu_max_num_threads, cv2.getNumThreads())
print(*(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"))
"""
    said = [int(x) for x in started(code, SEMAFLOW_THREADS=count, OMP_NUM_THREADS="2")]
    assert said[:4] == [int(count)] * 4
    assert len(said) > 4 and max(said) <= int(count)  # a BLAS may have been built for one thread


def test_opencv_imported_later_heeds_the_setting():
    code = "from semaflow.kernels import bridge; import cv2; print(cv2.getNumThreads())"
    assert started(code, SEMAFLOW_THREADS=1) == ["1"]


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_a_setting_that_is_no_number_is_one_line(value):
    command = ["env", f"SEMAFLOW_THREADS={value}", sys.executable, "-m", "semaflow.tasks", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == f"semaflow: SEMAFLOW_THREADS: expected a positive integer, got {value!r}\n"


def pictures(seed):
    """Something of every kind of kernel: Warp's in tasks and in shares, forward and backward, and Taichi's."""
    g = torch.Generator().manual_seed(seed)
    means = (torch.randn(300, 3, generator=g) + torch.tensor([0, 0, 6.0])).requires_grad_()
    quats, scales = torch.randn(300, 4, generator=g), torch.full((300, 3), 0.2)
    colors = torch.rand(300, 3 + seed % 3, generator=g)
    K = torch.tensor([[[60.0, 0, 32], [0, 60, 24], [0, 0, 1]]])
    image = splat.rasterization(means, quats, scales, torch.full((300,), 0.5), colors, torch.eye(4)[None], K, 64, 48)[0]
    image.square().sum().backward()
    steps = torch.rand(20, 32, generator=g).requires_grad_()
    starts = inclusive_sum(steps)
    weights, *_ = render_weight_from_density(starts, starts + 0.1, torch.rand(20, 32, generator=g))
    summed = accumulate_along_rays(weights, torch.rand(20, 32, 5, generator=g))
    summed.square().sum().backward()
    return [image.detach(), means.grad, nearest(means, 2 + seed % 2)[0], summed.detach(), steps.grad]


def same(found, expected):
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


class Pictures(torch.utils.data.Dataset):
    """Rendered in the workers of a data loader."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        parts = pictures(index)
        return [torch.tensor([bridge.threads(), bridge.ti.cfg.cpu_max_num_threads]), *parts]


def test_spawned_data_loaders_render_what_the_process_itself_does(monkeypatch):
    monkeypatch.setenv("SEMAFLOW_THREADS", "2")
    loader = torch.utils.data.DataLoader(
        Pictures(), batch_size=None, num_workers=2, multiprocessing_context="spawn", timeout=300
    )
    found = list(loader)
    assert len(found) == 4
    for index, (threads, *parts) in enumerate(found):
        assert same(parts, pictures(index))
        assert threads.tolist() == [1, 1], "the workers share the cores"


def test_many_threads_at_once_render_what_one_does(monkeypatch):
    monkeypatch.setattr(bridge, "threads", lambda: 2)
    expected = [pictures(seed) for seed in range(6)]
    with ThreadPoolExecutor(4) as crew:
        for found, truth in zip(crew.map(pictures, [*range(6)] * 4), expected * 4, strict=True):
            assert same(found, truth)


def test_kernels_may_be_made_and_taichi_started_by_any_threads():
    """In a fresh process, whose first calls come from four threads at once and none from the main one."""
    code = """
import threading
from concurrent.futures import ThreadPoolExecutor
go = threading.Barrier(4)

def work(seed):
    go.wait()
    from tests.kernels.test_bridge_threads import pictures
    return pictures(seed)

with ThreadPoolExecutor(4) as crew:
    found = list(crew.map(work, [0, 1, 0, 1]))
from tests.kernels.test_bridge_threads import pictures, same
print(*(same(parts, pictures(seed)) for parts, seed in zip(found, [0, 1, 0, 1])))
"""
    assert started(code) == ["True"] * 4


def test_a_thing_is_made_once_whoever_asks():
    made, go = [], threading.Barrier(8)

    @once
    def make(name):
        made.append(name)
        threading.Event().wait(0.05)
        return object()

    def ask(_):
        go.wait()
        return make("kernel")

    with ThreadPoolExecutor(8) as crew:
        found = set(crew.map(ask, range(8)))
    assert len(found) == 1 and made == ["kernel"]
    assert make("another") not in found
    make.forget()
    assert make("kernel") not in found
