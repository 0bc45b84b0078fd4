"""Where fields are learned and rendered."""

from __future__ import annotations

import os

import torch

from ..scenes import BadInput


def device() -> torch.device:
    """The CPU, or what the environment variable ``SEMAFLOW_DEVICE`` says: cpu or cuda.

    BadInput: another name, or cuda where torch finds no such device.
    """
    name = os.environ.get("SEMAFLOW_DEVICE", "") or "cpu"
    if name not in ("cpu", "cuda"):
        raise BadInput(f"SEMAFLOW_DEVICE: expected cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("SEMAFLOW_DEVICE: cuda: torch finds no CUDA device")
    return torch.device(name)
