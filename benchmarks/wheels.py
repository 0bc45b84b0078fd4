"""What a CUDA machine needs beyond torch for ``make gpu``: ``python -m benchmarks.wheels [FOLDER]``.

Prints the packages, one a line, at the versions installed here, with all that they need in turn but torch; the peers of
the benchmarks, which are not needed, come last. With FOLDER their wheels are downloaded into it, to be carried to a
machine that has torch but no package index: ``make gpu WHEELS=FOLDER`` installs them there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# torch brings what it needs itself. The tests, and torchdiffeq, come with the extra dev.
WANTED, LEFT_OUT = ("semaflow[dev]", "setuptools"), ("semaflow", "torch", "ruff")
PEERS = ("gsplat==1.5.3", "nerfacc==0.5.3")  # and what they need; they compile their kernels when first called
PEERS_NEED = ("ninja", "jaxtyping", "wadler-lindig")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def closure(wanted: tuple[str, ...], python: str) -> list[str]:
    """``name==version`` of the installed packages that ``wanted`` need in turn on Linux with that Python, sorted."""
    machine = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux",
               "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"}  # fmt: skip
    found, todo = {}, [Requirement(name) for name in wanted]
    while todo:
        requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), requirement.extras or {""}
        if name in found or (name in LEFT_OUT and name != "semaflow"):
            continue
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            raise SystemExit(f"{name}: not installed here, so its version is not known; run make install") from None
        for line in requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({**machine, "extra": x}) for x in extras):
                todo.append(needed)
    return [f"{name}=={found[name]}" for name in sorted(found) if name not in LEFT_OUT]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wheels", description=__doc__)
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="download the wheels into it")
    parser.add_argument("--python", default="3.12", help="version of Python there (default: %(default)s)")
    options = parser.parse_args(arguments)
    packages = [*closure(WANTED, options.python), *PEERS, *PEERS_NEED]
    print("\n".join(packages), flush=True)
    if options.folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--dest", options.folder, "--python-version", options.python, "--implementation", "cp"]
        command += [part for platform in PLATFORMS for part in ("--platform", platform)]
        sys.exit(subprocess.run([*command, *packages], check=False).returncode)


if __name__ == "__main__":
    main()
