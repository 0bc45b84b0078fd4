"""Mixed precision: convolutions and matrix products of the networks in fewer bits, all else as it comes."""

from __future__ import annotations

import torch
from torch import Tensor

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def lowered(precision: str, device: torch.device) -> torch.autocast:
    """A context in which networks on ``device`` compute with ``precision``; float16 does so on CUDA alone."""
    dtype = PRECISIONS[precision]
    enabled = dtype is not None and (device.type == "cuda" or dtype is not torch.float16)
    return torch.autocast(device.type, dtype=dtype, enabled=enabled)


def applied(network: torch.nn.Module, precision: str, features: Tensor, *sizes: int):
    """``network`` of ``features`` and ``sizes``, computed with ``precision``: a map or several, of the type of
    ``features``, since what they are used for is not to lose by it."""
    with lowered(precision, features.device):
        found = network(features, *sizes)
    if isinstance(found, Tensor):
        return found.to(features.dtype)
    return type(found)(*(maps.to(features.dtype) for maps in found))
