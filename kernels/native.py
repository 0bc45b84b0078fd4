"""Warp kernels whose body is C++: vector types and loop orders that Warp's Python subset does not express.

Warp compiles a snippet with clang on the CPU, and with NVRTC on CUDA devices, inside its generated module.
"""

import itertools
import linecache

import warp as wp

_numbers = itertools.count()


def kernel(name: str, module: str, source: str, arguments: dict, elements: bool = False, **options):
    """A Warp kernel that calls the C++ ``source`` with ``arguments`` (name: Warp type).

    With ``elements`` it is a kernel for :func:`bridge.launch` (the last argument is the first element of the share) and
    the source sees the index of its element as ``index``. ``options`` are those of :func:`warp.kernel`.
    """
    names = ", ".join(arguments)
    typed = ", ".join(f"{argument}: types[{argument!r}]" for argument in arguments)
    stub, index = (", index: int", f", wp.tid() + {list(arguments)[-1]}") if elements else ("", "")
    native = f"native_{name}"
    text = f"def {native}({typed}{stub}): ...\ndef {name}({typed}):\n    {native}({names}{index})\n"
    # Warp reads a kernel's source, so text that is in no file is put where inspect finds it.
    filename = f"<{module}.{name}.{next(_numbers)}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    scope = {"types": arguments, "wp": wp, "__name__": __name__}
    exec(compile(text, filename, "exec"), scope)
    scope[native] = wp.func_native(source)(scope[native])
    return wp.kernel(module=module, enable_backward=False, **options)(scope[name])
