"""Tasks that several processes share, as ``torchrun`` starts them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta

import torch
from torch import distributed

from ..fields import processes
from ..scenes import BadInput
from .device import device
from .progress import console

PATIENCE = timedelta(hours=2)  # of processes that wait, perhaps for the first one's evaluation


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Be one of the processes that ``torchrun`` started, where it did: over gloo on the CPU, nccl on CUDA, each on a
    device of its own. Only the first one speaks. Without ``torchrun``, nothing changes.

    BadInput: this process sees devices of others too; the command line takes care of that.
    """
    alone = "RANK" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1"
    if alone or distributed.is_initialized():
        yield
        return
    cuda = device().type == "cuda"
    if cuda and os.environ.get("LOCAL_WORLD_SIZE", "1") != "1" and torch.cuda.device_count() > 1:
        got = torch.cuda.device_count()
        raise BadInput(f"CUDA_VISIBLE_DEVICES: expected one device for each process of a machine, got {got}")
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    console.quiet = processes.rank() > 0
    try:
        yield
    finally:  # where this process failed, the others are not left waiting for it
        distributed.destroy_process_group()
