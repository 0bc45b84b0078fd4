"""The splatting kernels over numbers of Gaussians, pixels and channels.

From one point in the middle a row for each size along each axis, and the largest picture. Every row is measured in a
process of its own, ``python -m benchmarks.sizes COUNT WIDTH HEIGHT RADIUS CHANNELS``: first ours alone, for two frames,
after which the process's peak memory is read; then all contenders in turn. What more pixels show is the same scene, so
that Gaussians are as many pixels larger.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
from pathlib import Path

import torch
from semaflow.kernels import bridge

from . import splat
from .peers.compiled import Unavailable
from .table import Table, cores, milliseconds

BASE = (50_000, 480, 270, 6.0, 3)  # Gaussians, width, height, mean radius in pixels, channels
AXES = {
    "channels": [(*BASE[:4], D) for D in (3, 16, 35, 64, 384, 512)],
    "Gaussians": [(count, *BASE[1:]) for count in (10_000, 50_000, 200_000, 1_000_000)],
    "pixels": [(BASE[0], 480 * k, 270 * k, 6.0 * k, BASE[4]) for k in (1, 2, 4)],
}
LARGEST = [(1_000_000, 1920, 1080, 6.0, D) for D in (3, 35)]
TORCH_MOST = 6e6  # Gaussians times radius squared times channels; beyond, a frame takes torch seconds and gigabytes
COLUMNS = ["Gaussians", "width", "height", "D", "who", "forward ms", "backward ms", "frame ms", "x C++", "peak MiB"]


def measured(count: int, width: int, height: int, radius: float, channels: int, seconds: float = 3.0) -> list[dict]:
    """Rows of one scene, one per contender; peak memory is that of this process so far."""
    scene = splat.random_scene(count, width, height, radius)
    painted, gradients = scene.painted(channels), splat.image_gradients(scene, channels)
    ours = splat.Ours(painted, *gradients)
    for _ in range(2):
        ours.forward()
        ours.backward()
    peak = peak_memory()
    contenders = {"semaflow": ours}
    with contextlib.suppress(Unavailable):
        contenders = {"C++": splat.Compiled(painted, *gradients), **contenders}
    if count * radius**2 * channels <= TORCH_MOST:
        pairs, _, meta = splat.pairs_of(scene)
        contenders["torch"] = splat.Torch(painted, *gradients, pairs, meta)
    times = milliseconds(*((c.forward, c.backward) for c in contenders.values()), seconds=seconds)
    frames = {who: sum(steps) for who, steps in zip(contenders, times, strict=True)}
    rows = []
    for who, (forward, backward) in zip(contenders, times, strict=True):
        row = {"Gaussians": count, "width": width, "height": height, "D": channels, "who": who}
        row |= {"forward ms": forward, "backward ms": backward, "frame ms": frames[who]}
        if "C++" in frames:
            row["x C++"] = frames[who] / frames["C++"]
        if who == "semaflow":
            row["peak MiB"] = peak
        rows.append(row)
    return rows


def peak_memory() -> float:
    """The most memory that this process has held, MiB.

    On Linux ``ru_maxrss`` also counts what the process that started this one held, the status file does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def in_a_process(size: tuple, seconds: float) -> list[dict]:
    """:func:`measured` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.sizes", *map(str, (*size, seconds))]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"benchmark of {size}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def exponent(sizes: list[float], times: list[float]) -> float:
    """The power of its size that a time grows with: the slope of the line through their logarithms."""
    x, y = (torch.tensor(values, dtype=torch.float64).log() for values in (sizes, times))
    x, y = x - x.mean(), y - y.mean()
    return float((x @ y) / (x @ x))


def tables(axes: dict = AXES, further: list = LARGEST, seconds: float = 3.0) -> list[Table]:
    """The sizes, and the exponents that times grow with along each axis."""
    table = Table("splatting by size", COLUMNS)
    table.notes += [
        f"one camera, forward and backward, {bridge.threads()} threads on {cores()} cores; "
        "each size in a process of its own",
        "peak MiB: of a process that does nothing else, Python and torch included, after two frames",
        "torch composites only: its projection and its pairs come for free",
    ]
    known: dict[tuple, list[dict]] = {}
    for size in [*(size for sizes in axes.values() for size in sizes), *further]:
        if size not in known:
            known[size] = in_a_process(size, seconds)
            for row in known[size]:
                table.add(**row)
    growth = Table("splatting, growth", ["axis", "who", "smallest", "largest", "exponent", "times"])
    growth.notes.append("exponent: of the frame's time, fitted over all sizes; times: the last over the first")
    extent = {
        "channels": lambda size: size[4],
        "Gaussians": lambda size: size[0],
        "pixels": lambda size: size[1] * size[2],
    }
    for axis, sizes in axes.items():
        for who in ("C++", "semaflow"):
            frames = [row["frame ms"] for size in sizes for row in known[size] if row["who"] == who]
            if len(frames) == len(sizes) > 1:
                x = [extent[axis](size) for size in sizes]
                figures = {"exponent": exponent(x, frames), "times": frames[-1] / frames[0]}
                growth.add(axis=axis, who=who, smallest=x[0], largest=x[-1], **figures)
    return [table, growth]


if __name__ == "__main__":
    torch.set_num_threads(bridge.threads())
    *size, channels, seconds = map(float, sys.argv[1:])
    count, width, height = map(int, size[:3])
    print(json.dumps(measured(count, width, height, size[3], int(channels), seconds)))
