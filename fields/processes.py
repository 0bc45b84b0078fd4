"""Several processes that train one network together (``torchrun``); one process alone is rank 0 of one."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, distributed


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this one is; the first, 0, writes what all have made."""
    return distributed.get_rank() if count() > 1 else 0


def wait() -> None:
    """Until all processes are here."""
    if count() > 1:
        distributed.barrier()


def share(tensors: Iterable[Tensor]) -> None:
    """Give all processes the values that the first has of ``tensors``, in place."""
    if count() > 1:
        for tensor in tensors:
            distributed.broadcast(tensor.detach(), 0)


def gathered(tensor: Tensor) -> list[Tensor]:
    """What all processes have of ``tensor``, of one shape everywhere, by rank, where it is in each."""
    if count() == 1:
        return [tensor]
    own = tensor.to("cuda") if distributed.get_backend() == "nccl" else tensor  # nccl carries nothing else
    found = [torch.empty_like(own) for _ in range(count())]
    distributed.all_gather(found, own)
    return [one.to(tensor.device) for one in found]


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace gradients by their means over all processes.

    Where only some processes have a gradient, that of the others is 0; where none has one, there is none after, so
    that an optimiser leaves the parameter as it is.
    """
    if count() == 1:
        return
    parameters = list(parameters)
    given = parameters[0].new_tensor([parameter.grad is not None for parameter in parameters])
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([given, *(gradient.flatten() for gradient in gradients)])
    distributed.all_reduce(flat)
    given, *sums = flat.split([len(parameters), *(parameter.numel() for parameter in parameters)])
    for parameter, any_given, total in zip(parameters, given.tolist(), sums, strict=True):
        parameter.grad = total.view_as(parameter) / count() if any_given else None
