"""How C++ kernels on the CPU share out rays: in tasks of neighbouring rays, which threads draw until none is left."""

import warp as wp

from .. import bridge
from .rays import Rays

# C++ that calls body(ray, first sample, end) for the rays of the tasks that this thread draws.
EACH_RAY = r"""
auto each_ray = [&](auto body) {
    while (true) {
        const int task = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
        if (task >= tasks) return;
        for (long long r = count * task / tasks; r < count * (task + 1) / tasks; r++)
            body(r, (long long)rays.data[2 * r], (long long)(rays.data[2 * r] + rays.data[2 * r + 1]));
    }
};
"""

# Arguments that EACH_RAY reads: the first and the last ones of a kernel.
RAYS = {"rays": wp.array(dtype=wp.int64), "count": wp.int64}
TASKS = {"tasks": int, "counter": wp.array(dtype=wp.int32)}

_TASKS_PER_THREAD = 16  # rays are of unequal length
_GRAIN = 1 << 15  # numbers that are worth a task of their own


def launch_rays(kernel, rays: Rays, size: int, arguments: list) -> None:
    """Run ``kernel``, which has ``arguments`` between RAYS and TASKS and reads ``size`` numbers, on all threads."""
    tasks = max(min(rays.count, size // _GRAIN, _TASKS_PER_THREAD * bridge.threads()), min(rays.count, 1))
    bridge.launch_tasks(kernel, tasks, [bridge.flat(rays.packed), rays.count, *arguments])
