"""Where torch meets Warp and Taichi: memory, devices, streams and threads.

Torch owns all memory; Warp and Taichi see it without a copy. Nothing else in the package knows how they are joined.

Modules of Taichi kernels begin with ``from .bridge import ti``, which is the only import of Taichi, and call their
kernels through :func:`call`, which starts it. On the CPU a Warp launch runs in the calling thread but lets other Python
threads run, so work is spread over the cores by launching a kernel once per thread of a pool. Warp's CPU atomics are
plain writes: launches that run at the same time must write to disjoint places. Taichi has threads and atomics of its
own, but only one launch may be under way. ``SEMAFLOW_THREADS`` sets the number of threads (:mod:`.threads`).

Everything here may be called from several Python threads at once, and from processes that were spawned. What is
compiled is kept in the user's cache folder: ``$XDG_CACHE_HOME`` or ``~/.cache``; Warp's also where ``$WARP_CACHE_PATH``
says, Taichi's where ``$TI_OFFLINE_CACHE_FILE_PATH`` says.
"""

import contextlib
import copy
import itertools
import math
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
import warp as wp
from torch import Tensor

from . import blocks
from .garbage import put_off
from .notice import explained
from .once import MAKING, once
from .threads import apply_setting, threads

apply_setting()


@contextlib.contextmanager
def _silence():
    """Send the process's standard error to nowhere for a moment, C libraries' writes included."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


# Warp announces itself, and warns of a missing CUDA driver where nobody asked for one.
wp.config.log_level = max(wp.config.log_level, wp.LOG_ERROR)
with contextlib.nullcontext() if torch.cuda.is_available() else _silence():
    wp.init()

REAL = {torch.float32: wp.float32, torch.float64: wp.float64}


@once
def vector(length: int, dtype: torch.dtype):
    """Warp's vector type of ``length`` components for a torch dtype."""
    return wp.types.vector(length, REAL[dtype])


@once
def vector_of_ints(length: int):
    """Warp's vector type of ``length`` int32."""
    return wp.types.vector(length, wp.int32)


@once
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(threads() - 1, 1), thread_name_prefix="semaflow")


# A forked child has none of the pool's threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


def share(tensor: Tensor | None, dtype=None):
    """A contiguous tensor as a Warp kernel argument, without a copy; None becomes an array of length zero.

    ``dtype`` is the Warp element type (say ``wp.vec3``); by default the scalar type of the tensor.
    """
    if tensor is None:
        return None
    return wp.from_torch(tensor, dtype=dtype, requires_grad=False, return_ctype=True)


_Descriptor = type(wp.from_torch(torch.zeros(1), return_ctype=True))


def flat(tensor: Tensor | None, width: int = 1):
    """A contiguous tensor of any shape as a one-dimensional kernel argument of its scalars, or of vectors or matrices of
    ``width`` of them, for less than :func:`share` costs; None becomes an array of length zero."""
    if tensor is None:
        return None
    size = tensor.element_size() * width
    descriptor = _Descriptor(tensor.data_ptr(), 0, 1, (tensor.numel() // width,), (size,))
    descriptor.owner = tensor  # the memory lives as long as the argument
    return descriptor


def array(tensor: Tensor, dtype) -> wp.array:
    """A contiguous tensor as a Warp array, without a copy, for Warp's own data structures."""
    return wp.from_torch(tensor, dtype=dtype, requires_grad=False)


def empty(like: Tensor, *shape: int) -> Tensor:
    """Memory for numbers like those of ``like``, with anything in it; large blocks on the CPU are of :mod:`.blocks`."""
    nbytes = math.prod(shape) * like.element_size()
    if like.device.type != "cpu" or nbytes < 2 * blocks.PAGE or not blocks.AVAILABLE:
        return like.new_empty(shape)
    return blocks.tensor(like.dtype, shape, nbytes)


def _stream(like: Tensor):
    """Torch's current stream on the CUDA device of ``like``, as Warp knows it."""
    return wp.stream_from_torch(torch.cuda.current_stream(like.device))


_stream_lock = threading.RLock()


@contextlib.contextmanager
def stream(like: Tensor):
    """Context in which Warp's own data structures are built on torch's current stream on the device of ``like``; nothing
    to do on the CPU.

    Warp has one current stream for all threads, so one thread at a time is in here.
    """
    if not like.is_cuda:
        yield
        return
    with _stream_lock, wp.ScopedStream(_stream(like)):
        yield


_loaded = set()


def _load(kernel, device: str) -> None:
    """Compile ``kernel`` with its module, or load what was compiled, once."""
    if (kernel, device) in _loaded:
        return
    with MAKING, put_off():
        if (kernel, device) not in _loaded:
            with explained(f"compiling kernels for {device}, once: they are kept in {wp.config.kernel_cache_dir}"):
                wp.load_module(kernel.module, device)
            _loaded.add((kernel, device))


_recorded: dict = {}  # by kernel: a launch on the CPU, and the C types of its arguments


def _command(kernel, dim: int, arguments: list):
    """A launch on the CPU, to be run once. Warp looks at the types of the arguments at a kernel's first launch only,
    since that takes as long as drawing a small picture."""
    if kernel not in _recorded:
        _load(kernel, "cpu")
        template = wp.launch(kernel, dim, inputs=arguments, device="cpu", record_cmd=True)
        types = [type(value) for value in template.params[1:]]
        template.params = template.fwd_args = template.adj_args = None  # they would keep the tensors
        _recorded[kernel] = template, types
    template, types = _recorded[kernel]
    command = copy.copy(template)
    command.params = params = [command.bounds]
    for value, kind in zip(arguments, types, strict=True):
        if not isinstance(value, _Descriptor):
            value = kind() if value is None else kind(value)
        params.append(value)
    if dim != command.bounds.size:
        command.set_dim(dim)
    return command


def _run(commands: list) -> None:
    """Launch all commands, on as many threads as there are to spare."""
    waiting = deque(commands)

    def work():
        while waiting:
            try:
                command = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            command.launch()

    crew = min(threads(), len(commands)) - 1
    futures = [_pool().submit(work) for _ in range(crew)]
    work()
    for future in futures:
        if not future.cancel():  # on a busy machine the pool may be late: nothing is left for it
            future.result()


def launch(kernel, count: int, arguments: list, like: Tensor, grain: int = 2048) -> None:
    """Run ``kernel`` for the elements 0..count-1, spread over the CPU's threads or on the GPU of ``like``.

    The kernel's last parameter is the first element of its share: it adds that to ``wp.tid()``. Elements must write
    to disjoint places. ``grain`` is the smallest share worth a thread of its own.
    """
    if count == 0:
        return
    if like.is_cuda:
        _load(kernel, str(like.device))
        wp.launch(kernel, count, inputs=[*arguments, 0], stream=_stream(like), record_tape=False)
        return
    parts = min(2 * threads() if threads() > 1 else 1, max(count // grain, 1))
    starts = [count * i // parts for i in range(parts + 1)]
    _run([_command(kernel, b - a, [*arguments, a]) for a, b in itertools.pairwise(starts)])


def launch_tasks(kernel, count: int, arguments: list) -> None:
    """Run a CPU kernel of ``count`` unequal tasks: every thread enters it once and draws tasks until none is left.

    The kernel's last two parameters are ``count`` and an int32 counter, from which a task is drawn by an atomic add.
    """
    if count == 0:
        return
    crew = min(threads(), count)
    counter = torch.zeros(1, dtype=torch.int32)
    _run([_command(kernel, 1, [*arguments, count, flat(counter)])] * crew)


def launch_once(kernel, arguments: list) -> None:
    """Run a serial CPU kernel."""
    _command(kernel, 1, arguments).launch()


_taichi_lock = threading.RLock()
_called = set()  # Taichi kernels that have run
_forked = False  # this process was forked from one in which Taichi ran


@cache
def _taichi():
    """Taichi, imported."""
    os.environ.setdefault("ENABLE_TAICHI_HEADER_PRINT", "0")
    import taichi

    return taichi


@cache
def _start() -> None:
    """Start Taichi for the CPU, or for CUDA where torch has it, without what it would print."""
    taichi = _taichi()
    arch = taichi.cuda if torch.cuda.is_available() else taichi.cpu
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        taichi.init(arch, cpu_max_num_threads=threads(), log_level=taichi.ERROR, unrolling_limit=0)
    taichi.sync()  # the first thing it does must be done by the thread that started it; then any may call kernels


def __getattr__(name: str):
    if name != "ti":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _taichi_lock:
        return _taichi()


def call(kernel, *arguments) -> None:
    """Run a Taichi kernel on contiguous tensors and numbers, in whatever thread.

    One at a time: Taichi's compiler and its launches are not safe to enter from two threads at once, so that a lock is
    held meanwhile. On CUDA the kernel begins when torch's current stream has come to it, and is done on return: Taichi
    has a stream of its own. RuntimeError in a process that was forked after Taichi had started, where it would hang.
    """
    if _forked:
        raise RuntimeError("Taichi kernels cannot run in a forked process; use the start method 'spawn'")
    device = next((x.device for x in arguments if isinstance(x, Tensor) and x.is_cuda), None)
    with _taichi_lock:
        _start()
        if device is not None:
            torch.cuda.current_stream(device).synchronize()
        if kernel in _called:
            kernel(*arguments)
        else:
            with explained("compiling kernels of Taichi, on their first use"):
                kernel(*arguments)
            _called.add(kernel)
        if device is not None:
            _taichi().sync()


def _in_child() -> None:
    global _forked
    _forked = _start.cache_info().currsize > 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
