"""The memory of this process, or of the CUDA device, at its peak."""

from __future__ import annotations

from pathlib import Path

import torch


def forget_peak(device: str = "cpu") -> None:
    """Peaks are from now on those of what comes."""
    if device == "cpu":
        Path("/proc/self/clear_refs").write_text("5")
    else:
        torch.cuda.reset_peak_memory_stats()


def peak(device: str = "cpu") -> float:
    """MiB at the peak since it was last forgotten."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) / 1024
