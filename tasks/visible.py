"""Which CUDA device one of several processes sees; torch is not imported here, since it heeds this when it is."""

from __future__ import annotations

import os


def see_own_device() -> None:
    """Of several processes that ``torchrun`` started on a machine, let this one see the device that is its own alone:
    Taichi knows no other than the first that it sees.

    ValueError: ``CUDA_VISIBLE_DEVICES`` names fewer devices than there are processes.
    """
    rank, processes = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if processes == 1 or os.environ.get("SEMAFLOW_DEVICE") != "cuda":
        return
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(processes))))
    devices = [name for name in seen.split(",") if name]
    if rank >= len(devices):
        raise ValueError(f"CUDA_VISIBLE_DEVICES: expected a device for each of {processes} processes, got {seen!r}")
    os.environ["CUDA_VISIBLE_DEVICES"] = devices[rank]
