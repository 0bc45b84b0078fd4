"""``python -m tests.poison FIRST END``: cases FIRST..END-1, each named before it begins, so that whoever reads along
knows which one crashed or hangs. ``python -m tests.poison 17 18`` repeats case 17."""

from __future__ import annotations

import sys

from . import lookups, particles, rays, splatting
from .dice import Dice

CASES = splatting.CASES | rays.CASES | lookups.CASES | particles.CASES


def main(first: int, end: int) -> None:
    kernels = list(CASES)
    for seed in range(first, end):
        kernel = kernels[seed % len(kernels)]
        print(f"seed {seed}: {kernel}", flush=True)
        CASES[kernel](Dice(seed))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
