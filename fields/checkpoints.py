"""What a checkpoint keeps of an optimiser."""

from __future__ import annotations

import torch
from torch import Tensor


def adam_tensors(optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    """The state of a fused Adam by names that begin with ``adam.``, of its groups' names and parameters' places."""
    return {
        f"adam.{group['name']}.{k}.{key}": value
        for group in optimizer.param_groups
        for k, parameter in enumerate(group["params"])
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_adam(optimizer: torch.optim.Adam, tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`adam_tensors` said, on the parameters' devices: a fused Adam counts its steps there too."""
    for group in optimizer.param_groups:
        for k, parameter in enumerate(group["params"]):
            prefix = f"adam.{group['name']}.{k}."
            state = {
                name[len(prefix) :]: value.to(parameter.device)
                for name, value in tensors.items() if name.startswith(prefix)
            }
            if state:
                optimizer.state[parameter] = state
