"""How many CPU threads there are: one number for Warp, Taichi, torch, OpenCV and numpy's and scipy's linear algebra."""

import os
import sys
from functools import cache


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def setting() -> int | None:
    """What the environment variable ``SEMAFLOW_THREADS`` says, None where it says nothing.

    ValueError: it is no positive integer.
    """
    text = os.environ.get("SEMAFLOW_THREADS", "")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"SEMAFLOW_THREADS: expected a positive integer, got {text!r}")
    return int(text)


@cache
def threads() -> int:
    """Number of CPU threads that kernels use: the setting, or all cores.

    It is one in a worker process of a torch data loader, which torch itself gives one thread: the workers share the
    cores.
    """
    loading = sys.modules.get("torch.utils.data")
    if loading is not None and loading.get_worker_info() is not None:
        return 1
    return setting() or cores()


def apply_setting() -> None:
    """Give torch, OpenCV and the BLAS libraries the number of threads that is set; without a setting they keep theirs.

    Those not imported yet read theirs from the environment when they are.
    """
    count = setting()
    if count is None:
        return
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(count)
    threadpool_limits(count, user_api="blas")
    for name in ("OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ[name] = str(count)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(count)
