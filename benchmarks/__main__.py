"""Run benchmarks: all of them, or those named. Prints their tables and writes
benchmarks/results/NAME.json.

A benchmark is a module here with a function ``run() -> list[Table]``. What needs a CUDA device has a
command of its own, ``python -m benchmarks.gpu``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil

import benchmarks

from .table import machine, write

HELPERS = ("__main__", "table", "data", "gpu", "wheels", "sizes", "rooms", "memory", "perception_captures")
NAMES = sorted(
    module.name
    for module in pkgutil.iter_modules(benchmarks.__path__)
    if module.name not in HELPERS and not module.ispkg
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"among {', '.join(NAMES)}; default all")
    names = parser.parse_args().names or NAMES
    for name in names:
        if name not in NAMES:
            parser.error(f"no benchmark {name!r}; there are {', '.join(NAMES)}")
    taken_on = machine()
    print(json.dumps(taken_on), flush=True)
    for name in names:
        tables = importlib.import_module(f"benchmarks.{name}").run()
        print("\n".join(f"\n{table}" for table in tables))
        print(f"\nwritten to {write(name, taken_on, tables)}", flush=True)


if __name__ == "__main__":
    main()
