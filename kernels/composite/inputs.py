"""Arguments of the public functions, checked and brought to the form that the kernels take."""

import torch
from torch import Tensor


def working_type(*values: Tensor | None) -> torch.dtype:
    """float64 if one of the values is, else float32."""
    doubles = any(value is not None and value.dtype == torch.float64 for value in values)
    return torch.float64 if doubles else torch.float32


def flat(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers per sample as [N]."""
    return value.to(dtype).contiguous().view(-1)


def alike(**values: Tensor | None) -> None:
    """ValueError naming the first argument that has not the shape and device of the first of all; None passes."""
    (name, first), *others = values.items()
    for other, value in others:
        if value is None:
            continue
        if value.shape != first.shape:
            raise ValueError(f"{other}: expected the shape of {name}, {list(first.shape)}, got {list(value.shape)}")
        if value.device != first.device:
            raise ValueError(f"{other}: expected on {first.device}, where {name} is, got {value.device}")


def per_channel(name: str, value: Tensor, samples: Tensor, dtype: torch.dtype) -> Tensor:
    """Channels per sample, [..., D] for ``samples`` [...], as [N, D]."""
    if value.ndim != samples.ndim + 1 or value.shape[:-1] != samples.shape:
        expected = str([*samples.shape, "any"]).replace("'", "")
        raise ValueError(f"{name}: expected shape {expected}, got {list(value.shape)}")
    if value.device != samples.device:
        raise ValueError(f"{name}: expected on {samples.device}, where the samples are, got {value.device}")
    return value.to(dtype).contiguous().view(samples.numel(), value.shape[-1])
