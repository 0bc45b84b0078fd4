"""Large blocks of memory on the CPU, some of which are kept when they are no longer used.

A large block is new to the process each time that the C library is asked for one, and the system clears its pages, which
takes as long as compositing into them. What is computed again and again, as in training, needs blocks of the same sizes
again and again.
"""

import contextlib
import ctypes
import mmap
import sys
import weakref
from collections import deque

import torch

PAGE = 2 << 20  # large pages of x86-64 and arm64
KEPT = 256 << 20  # bytes that unused blocks may have together
AVAILABLE = sys.platform == "linux"

_unused: deque[mmap.mmap] = deque()


def _release(block: mmap.mmap) -> None:
    _unused.append(block)
    while sum(map(len, tuple(_unused))) > KEPT:
        try:
            _unused.popleft()
        except IndexError:  # another thread took it
            return


def _take(size: int) -> mmap.mmap:
    for block in tuple(_unused):
        if size <= len(block) <= size + size // 4:
            try:
                _unused.remove(block)
            except ValueError:  # another thread took it
                continue
            return block
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # of a system that has none
            block.madvise(mmap.MADV_HUGEPAGE)
    return block


def tensor(dtype: torch.dtype, shape: tuple[int, ...], nbytes: int) -> torch.Tensor:
    """A tensor of ``nbytes``, with anything in it, in a block that is released when no tensor lies in it any more."""
    block = _take(-(-nbytes // PAGE) * PAGE)
    lease = (ctypes.c_char * nbytes).from_buffer(block)
    weakref.finalize(lease, _release, block).atexit = False
    return torch.frombuffer(lease, dtype=dtype).view(shape)
