"""The C++ rasterizer of ``splat.cpp``, compiled on the spot for a number of channels and called
through ctypes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from semaflow.kernels import bridge
from torch import Tensor

# Multiplications and additions are fused where the source says so and nowhere else: see geometry.h.
FLAGS = ["-O3", "-march=native", "-ffp-contract=off", "-std=c++17", "-fopenmp", "-shared", "-fPIC"]


class Unavailable(Exception):
    """The peer cannot run here; the message says why."""


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    assert tensor.is_contiguous()
    assert tensor.dtype == torch.float32
    return ctypes.c_void_p(tensor.data_ptr())


class CompiledRasterizer:
    """One camera's images and gradients by compiled C++, with ``channels`` colours on ``threads``
    cores.

    Raises :class:`Unavailable` where there is no g++, or the processor lacks AVX2.
    """

    STAGES = ("project", "bin", "composite", "composite backward", "reduce and project backward")

    def __init__(self, channels: int, threads: int):
        compiler = shutil.which("g++")
        if compiler is None:
            raise Unavailable("no g++ on this machine")
        self.channels = channels
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "splat.so"
            source = Path(__file__).with_name("splat.cpp")
            command = [compiler, *FLAGS, f"-DCHANNELS={channels}", str(source), "-o", str(library)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                reason = next((x for x in done.stderr.splitlines() if "error" in x), "g++ failed")
                raise Unavailable(reason.split("error:")[-1].strip(" #"))
            self._library = ctypes.CDLL(str(library))
        self._library.frame_new.restype = ctypes.c_void_p
        self._library.frame_seconds.restype = ctypes.POINTER(ctypes.c_double)
        self._frame = ctypes.c_void_p(self._library.frame_new(threads))
        self._inputs: list[Tensor] = []

    def __del__(self):
        if hasattr(self, "_frame"):
            self._library.frame_free(self._frame)

    def forward(self, scene) -> tuple[Tensor, Tensor]:
        """Image [H, W, D] and alpha [H, W] of ``scene`` (:class:`benchmarks.splat.Scene`)."""
        self._inputs = [x.detach().contiguous() for x in scene.inputs]
        size = (scene.height, scene.width)
        image, alpha = bridge.empty(scene.means, *size, self.channels), torch.empty(size)
        self._library.frame_forward(
            self._frame,
            len(scene.means),
            *(_pointer(x) for x in (*self._inputs, scene.viewmat.contiguous(), scene.K.contiguous())),
            scene.width,
            scene.height,
            _pointer(image),
            _pointer(alpha),
        )
        self._inputs.append(image)
        return image, alpha

    def backward(self, image: Tensor, alpha: Tensor) -> list[Tensor]:
        """Gradients of the last frame's means, quats, scales, opacities and colours, given those of
        its outputs."""
        gradients = [bridge.empty(x, *x.shape) for x in self._inputs[:5]]
        pointers = (_pointer(x) for x in (image.contiguous(), alpha.contiguous(), *gradients))
        self._library.frame_backward(self._frame, *pointers)
        return gradients

    def stages(self) -> dict[str, float]:
        """Milliseconds of each stage of the last frame."""
        seconds = self._library.frame_seconds(self._frame)
        return {name: 1e3 * seconds[i] for i, name in enumerate(self.STAGES)}
