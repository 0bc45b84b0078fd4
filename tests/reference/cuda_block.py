"""CUDA kernels that are C++ snippets, run on the CPU with all threads of a block: see cuda_block.h."""

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import warp as wp
from torch import Tensor

SCALARS = {wp.float32: "float", wp.float64: "double", wp.int32: "int", wp.int64: "int64_t"}


class BlockKernel:
    """In place of :func:`semaflow.kernels.native.kernel`, with the same arguments; compiled by g++."""

    def __init__(self, name: str, module: str, source: str, arguments: dict, elements: bool, **options):
        self.name, self.arrays = name, {n: t for n, t in arguments.items() if t is not int}
        names = list(arguments)[:-1]  # the last is the first element of a share
        typed, values = [], []
        for number, argument in enumerate(names):
            kind = arguments[argument]
            if kind is int:
                typed.append(f"int {argument}")
                values.append(f"*(int*)arguments[{number}]")
            else:
                scalar = SCALARS[kind.dtype]
                typed.append(f"Array<{scalar}> {argument}")
                values.append(f"Array<{scalar}>{{({scalar}*)arguments[{number}], {{int(sizes[{number}])}}}}")
        self.text = f"""
#include "{Path(__file__).with_suffix(".h")}"
void kernel({", ".join(typed)}, int index) {{
{source}
}}
extern "C" const char* run(void** arguments, const long* sizes, int blocks) {{
    block::body = [=](int index) {{ kernel({", ".join(values)}, index); }};
    return block::run(blocks);
}}
"""
        self._library = None

    def __call__(self, count: int, arguments: list[Tensor | int | None]) -> None:
        """Run for ``count`` threads; AssertionError where threads of a warp miss one another."""
        if self._library is None:
            with tempfile.TemporaryDirectory() as folder:
                source, library = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
                source.write_text(self.text)
                flags = ["-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-D__CUDA_ARCH__=900"]
                subprocess.run([shutil.which("g++"), *flags, str(source), "-o", str(library)], check=True)
                self._library = ctypes.CDLL(str(library))
            self._library.run.restype = ctypes.c_char_p
        pointers, sizes, kept = [], [], []
        for argument in arguments:
            if isinstance(argument, int):
                kept.append(ctypes.c_int(argument))
                pointers.append(ctypes.addressof(kept[-1]))
                sizes.append(0)
            else:
                pointers.append(argument.data if argument else None)
                sizes.append(argument.shape[0] if argument else 0)
        blocks, rest = divmod(count, 256)
        assert rest == 0, f"{self.name}: {count} threads are no whole blocks"
        failure = self._library.run(
            (ctypes.c_void_p * len(pointers))(*pointers), (ctypes.c_long * len(sizes))(*sizes), blocks
        )
        assert failure is None, f"{self.name}: {failure.decode()}"
