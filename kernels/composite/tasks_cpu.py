"""How C++ kernels on the CPU share out rays: in tasks of neighbouring rays, which threads draw until none is left."""

import warp as wp

from .. import bridge
from ..native import kernel
from .rays import Rays

# C++ for a kernel of real type R: each_ray calls body(ray, first sample, end) for the rays of the tasks that this thread
# draws; put and put_all write what the kernel computed.
EACH_RAY = r"""
#pragma clang fp contract(fast)
typedef @REAL@ R;
typedef R Line __attribute__((vector_size(32)));
typedef R AnyLine __attribute__((vector_size(32), aligned(sizeof(R))));
constexpr int WIDTH = sizeof(Line) / sizeof(R);
constexpr int SEGMENT = 64;  // samples that are read, and written, at once
auto aligned = [](const R* p) -> bool { return (unsigned long long)p % sizeof(Line) == 0; };
// Where more is written than caches hold, it goes past them: else each line is read before it is overwritten. That is for
// aligned lines only.
auto put = [&](R* to, Line x, bool past) {
    if (past) __builtin_nontemporal_store(x, (Line*)to);
    else *(AnyLine*)to = x;
};
auto put_all = [&](R* to, const R* from, long long n) {
    const bool past = far && aligned(to);
    long long k = 0;
    for (; k + WIDTH <= n; k += WIDTH) put(to + k, *(const AnyLine*)(from + k), past);
    for (; k < n; k++) to[k] = from[k];
};
auto each_ray = [&](auto body) {
    while (true) {
        const int task = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
        if (task >= tasks) break;
        for (long long r = count * task / tasks; r < count * (task + 1) / tasks; r++)
            body(r, (long long)rays.data[2 * r], (long long)(rays.data[2 * r] + rays.data[2 * r + 1]));
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);  // what went past the caches is seen by all
};
"""

# Arguments that this reads: the first and the last ones of a kernel.
RAYS = {"rays": wp.array(dtype=wp.int64), "count": wp.int64, "far": wp.bool}
TASKS = {"tasks": int, "counter": wp.array(dtype=wp.int32)}

_TASKS_PER_THREAD = 16  # rays are of unequal length
_GRAIN = 1 << 17  # bytes that are worth a task of their own
_FAR = 64 << 20  # bytes that no cache holds


def rays_kernel(name: str, module: str, source: str, real, arguments: dict, **marks):
    """A kernel for :func:`launch_rays` of C++ ``source`` after EACH_RAY, with @NAME@ in it replaced by what ``marks`` say."""
    single = real is wp.float32
    marks |= {"REAL": "float" if single else "double", "WHOLE": "int32_t" if single else "int64_t"}
    source = EACH_RAY + source
    for mark, text in marks.items():
        source = source.replace(f"@{mark}@", str(text))
    return kernel(name, module, source, RAYS | arguments | TASKS)


def launch_rays(kernel, rays: Rays, size: int, arguments: list) -> None:
    """Run ``kernel``, which has ``arguments`` between RAYS and TASKS and works on ``size`` bytes, on all threads."""
    tasks = max(min(rays.count, size // _GRAIN, _TASKS_PER_THREAD * bridge.threads()), min(rays.count, 1))
    bridge.launch_tasks(kernel, tasks, [bridge.flat(rays.packed), rays.count, size >= _FAR, *arguments])
