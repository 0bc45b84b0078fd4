"""``semaflow doctor``: is everything here that semaflow needs, and does it run?"""

from __future__ import annotations

import argparse
import atexit
import importlib.metadata
import platform

import torch
from rich.table import Table

from .device import device
from .progress import console

PACKAGES = (
    "torch", "warp-lang", "numpy", "av", "opencv-python-headless", "trimesh", "pycolmap", "transformers",
    "scikit-image", "polyscope",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb has no arguments."""


def run(arguments: argparse.Namespace) -> None:
    """Print versions, devices, and what happened when a kernel and the viewer were tried."""
    table = Table("part", "found", title="semaflow doctor")
    table.add_row("semaflow", importlib.metadata.version("semaflow"))
    table.add_row("python", platform.python_version())
    for name in PACKAGES:
        try:
            table.add_row(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            table.add_row(name, "[yellow]not installed (optional)[/yellow]")
    table.add_row("CUDA device", torch.cuda.get_device_name() if torch.cuda.is_available() else "none")
    checks = {"fields live on": used, "threads": threads, "splatting kernels": kernels, "viewer": viewer}
    for name, check in checks.items():
        try:
            table.add_row(name, check())
        except Exception as error:  # a doctor reports, whatever it finds
            table.add_row(name, f"[red]{type(error).__name__}: {' '.join(str(error).split())}[/red]")
    console.print(table)


def used() -> str:
    """Where a field would be learned and rendered now."""
    return f"{device()} (SEMAFLOW_DEVICE)"


def threads() -> str:
    """How many cores are used."""
    from ..kernels.bridge import threads as count

    return f"{count()} (SEMAFLOW_THREADS)"


def kernels() -> str:
    """Compile and run the rasterizer on one Gaussian, forward and backward, on every device."""
    from ..kernels import splat

    answers = []
    for place in ["cpu"] + (["cuda"] if torch.cuda.is_available() else []):
        means = torch.tensor([[0.0, 0.0, 2.0]], device=place, requires_grad=True)
        one = torch.ones(1, 3, device=place)
        quats = torch.tensor([[1.0, 0, 0, 0]], device=place)
        K = torch.tensor([[[32.0, 0, 16], [0, 32, 16], [0, 0, 1]]], device=place)
        image, _, _ = splat.rasterization(
            means, quats, 0.2 * one, one[:, 0], one, torch.eye(4, device=place)[None], K, 32, 32
        )
        image.sum().backward()
        good = image[0, 16, 16].min() > 0.9 and bool(torch.isfinite(means.grad).all())
        answers.append(f"{place}: {'compile and run' if good else 'WRONG RESULT'}")
    return ", ".join(answers)


def viewer() -> str:
    """Start the viewer's best backend without opening a window."""
    import polyscope

    from .view.backend import settle

    polyscope.set_allow_headless_backends(True)
    polyscope.set_verbosity(0)
    polyscope.set_use_prefs_file(False)
    try:
        polyscope.init()
    finally:
        atexit.register(settle, polyscope)
    return "headless (EGL): screenshots only" if polyscope.is_headless() else "window"
