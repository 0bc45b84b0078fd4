"""Large blocks of memory: taken by one tensor at a time, and taken again when they are free."""

import gc
import threading

import pytest
import torch
from semaflow.kernels import blocks, bridge

pytestmark = pytest.mark.skipif(not blocks.AVAILABLE, reason="not on this system")
ROWS = 1 << 20


def test_a_block_is_taken_again_when_nothing_lies_in_it_any_more():
    x = bridge.empty(torch.zeros(1), ROWS, 3)
    assert x.shape == (ROWS, 3) and x.is_contiguous() and x.dtype == torch.float32
    address, row = x.data_ptr(), x[5]
    row.fill_(7.0)
    del x
    gc.collect()
    other = bridge.empty(torch.zeros(1), ROWS, 3)
    assert other.data_ptr() != address, "a view of it is in use"
    other.zero_()
    assert row.tolist() == [7.0] * 3
    del row
    gc.collect()
    again = bridge.empty(torch.zeros(1, dtype=torch.float64), ROWS, 3).data_ptr()
    assert again != address, "too small"
    assert bridge.empty(torch.zeros(1), ROWS - 9, 3).data_ptr() == address


def test_what_is_kept_is_bounded():
    many = [bridge.empty(torch.zeros(1), blocks.KEPT // 12) for _ in range(5)]  # a third of it each
    del many
    gc.collect()
    assert sum(map(len, blocks._unused)) <= blocks.KEPT


def test_threads_never_share_a_block():
    wrong = []

    def work(number: int):
        for _ in range(100):
            x = bridge.empty(torch.zeros(1), ROWS)
            x[::4096] = number
            if not (x[::4096] == number).all():
                wrong.append(number)

    crew = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in crew:
        worker.start()
    for worker in crew:
        worker.join()
    assert not wrong


def test_gradients_may_outlive_what_made_them():
    x = torch.zeros(ROWS, requires_grad=True)

    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return bridge.empty(x, len(x)).copy_(2 * x)

        @staticmethod
        def backward(ctx, v):
            return bridge.empty(v, len(v)).copy_(2 * v)

    for _ in range(3):
        x.grad = None
        Double.apply(x).sum().backward()
    assert torch.equal(x.grad, torch.full((ROWS,), 2.0))
