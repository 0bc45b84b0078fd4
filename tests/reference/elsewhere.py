"""A pretended second device, to find tensors that are not on the device of those they meet.

All memory stays on the CPU. Tensors made "on cuda" are marked, and the mark is handed on from operation to operation;
an operation on marked and unmarked tensors raises, as it would on a real device.
"""

from __future__ import annotations

import torch
from torch.overrides import TorchFunctionMode

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
INDEXING = ("__getitem__", "__setitem__", "index_select")  # an index may lie on the CPU
MIXING = ("copy_", "backward", "__set__", "_has_compatible_shallow_copy_type")


def marked(value) -> bool:
    """Whether a tensor is pretended to be on the second device."""
    return getattr(value, "_elsewhere", False)


def mark(value, there: bool = True):
    """Say of a tensor, or of those in a tuple or list, where it is."""
    for tensor in tensors(value):
        tensor._elsewhere = there
    return value


def tensors(value) -> list[torch.Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for part in value for t in tensors(part)] if isinstance(value, (tuple, list)) else []


class Elsewhere(TorchFunctionMode):
    """While active, ``"cuda"`` names the pretended device."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        options, name = dict(options or {}), function.__name__
        owner = getattr(function, "__self__", None)
        if owner is torch.Tensor.device:
            return CUDA if marked(arguments[0]) else CPU
        if owner in (torch.Tensor.grad, torch.Tensor.data) and name == "__set__":
            function(*arguments)
            return mark(arguments[0], marked(arguments[1])) if owner is torch.Tensor.data else None
        if name in ("to", "cpu", "cuda"):
            return self.moved(function, name, arguments, options)
        if name == "numpy" and marked(arguments[0]):
            raise RuntimeError("numpy of a tensor that is on the device")
        met = [t for t in tensors([arguments, options]) if t.dim() > 0]
        there = any(marked(t) for t in tensors([arguments, options]))
        if name not in MIXING:
            compared = met[:1] if name in INDEXING and there else met
            if len({marked(t) for t in compared}) > 1:
                raise RuntimeError(f"{name}: expected all tensors on one device")
        if options.get("device") is not None:
            there = torch.device(options["device"]).type == "cuda"
            options["device"] = CPU
        result = function(*arguments, **options)
        for tensor in tensors(result):
            if there:
                mark(tensor)
        return result

    def moved(self, function, name, arguments, options):
        """Tensor.to and its short forms."""
        tensor, *rest = arguments
        there = marked(tensor) if name == "to" else name == "cuda"
        given = []
        for value in [*rest, *options.values()]:
            if isinstance(value, torch.Tensor):
                there = marked(value)
            elif isinstance(value, (str, torch.device)):
                there, value = torch.device(value).type == "cuda", CPU
            given.append(value)
        if name == "to":
            result = function(tensor, *given[: len(rest)], **dict(zip(options, given[len(rest) :], strict=True)))
        else:
            result = tensor
        if result is tensor and there != marked(tensor):
            result = tensor.view_as(tensor)
        return mark(result, there)
