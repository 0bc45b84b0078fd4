"""Everything that only a CUDA device can tell, in one command: ``python -m benchmarks.gpu`` (``make gpu``).

The kernels' tests on the device, each against its oracle; all kernels against their peers there, as far as these are
installed: splatting against gsplat and plain torch, compositing along rays against nerfacc and torch, gathering and
planes against ``grid_sample``, advection against torchdiffeq; the world ``balls`` learned with preset ``fast``. Prints
tables and writes benchmarks/results/gpu.json. Exit code 0: all went well; 1: something failed; 2: there is no CUDA
device.
"""

from __future__ import annotations

import importlib
import math
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from . import advect, composite, gather, planes, splat
from .table import Table, machine, milliseconds, write

ROOT = Path(__file__).parent.parent


def kernels_tested() -> bool:
    """Run the tests of the kernels that are marked with the device; whether all of them passed."""
    command = [sys.executable, "-m", "pytest", "tests/kernels", "-k", "cuda"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def contest(
    scene: splat.Scene,
    title: str,
    channels: tuple[int, ...],
    device: str,
    seconds: float = 5.0,
    torch_at: tuple[int, ...] = splat.TORCH_CHANNELS,
) -> Table:
    """The splatting kernels and their peers on ``device``; images are compared with our CPU kernels'."""
    columns = ["D", "who", "forward ms", "backward ms", "frame ms", "exponent", "difference", "settled"]
    table = Table(title, columns)
    there = scene.to(device)
    pairs, close, meta = splat.pairs_of(there)
    table.notes += [
        f"{len(scene.means)} Gaussians, {scene.width}x{scene.height}, {len(pairs) / 1e6:.2f}M pairs, {device}",
        "torch composites only: its projection and its pairs come for free",
        "difference: largest difference to our CPU kernels' image, relative to its largest value;",
        f"settled: the same without {int(close.sum())} pixels where rounding decides a cut-off",
    ]
    gsplat = None
    if device != "cpu":
        try:
            gsplat = importlib.import_module("gsplat").rasterization
        except ImportError as reason:
            table.notes.append(f"no gsplat: {reason}")
    last: dict[str, tuple[int, float]] = {}
    for D in channels:
        painted = there.painted(D)
        with torch.no_grad():
            expected = scene.painted(D).render()[0].to(device)
        gradients = [x.to(device) for x in splat.image_gradients(scene, D)]
        contenders = {"semaflow": splat.Ours(painted, *gradients)}
        if gsplat is not None:
            contenders["gsplat"] = splat.Ours(painted, *gradients, gsplat)
        if D in torch_at:
            contenders["torch"] = splat.Torch(painted, *gradients, pairs, meta)
        steps = ((c.forward, c.backward) for c in contenders.values())
        times = milliseconds(*steps, seconds=seconds, device=device)
        for (who, contender), (forward, backward) in zip(contenders.items(), times, strict=True):
            error = splat.difference(contender.image, expected)
            figures = {"difference": float(error.max()), "settled": float(error[~close].max())}
            frame = forward + backward
            if who in last:
                figures["exponent"] = math.log(frame / last[who][1]) / math.log(D / last[who][0])
            last[who] = (D, frame)
            table.add(D=D, who=who, **{"forward ms": forward, "backward ms": backward, "frame ms": frame}, **figures)
    return table


def steps(device: str = "cuda") -> dict[str, Callable[[], list[Table]]]:
    """What is measured, by name."""
    return {
        "splatting": lambda: [
            contest(splat.random_scene(50_000, 480, 270, 6.0), "50k at 480x270", splat.CHANNELS, device),
            contest(splat.random_scene(1_000_000, 1920, 1080, 6.0), "1M at 1920x1080", (3, 64), device, torch_at=()),
        ],
        "compositing along rays": lambda: composite.tables(device),
        "gathering": lambda: gather.tables(device),
        "planes": lambda: planes.tables(device),
        "advection": lambda: advect.tables(device),
        "training": lambda: [trained()],
    }


def all_of(steps: dict[str, Callable[[], list[Table]]]) -> tuple[list[Table], list[str]]:
    """Tables of the steps, printed as they come, and the names of those that failed: one keeps nothing from the
    others."""
    tables, failed = [], []
    for name, step in steps.items():
        try:
            found = step()
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        print("".join(f"\n{table}\n" for table in found), flush=True)
        tables += found
    return tables, failed


def trained(world: str = "balls", preset: str = "fast", **options) -> Table:
    """A simulated world filmed, learned on the device that SEMAFLOW_DEVICE names, and measured."""
    from semaflow.scenes import simulate
    from semaflow.scenes.files import read_json
    from semaflow.tasks.evaluate import evaluate
    from semaflow.tasks.fit import fit
    from semaflow.tasks.report import print_table
    from semaflow.tasks.run import Run

    with tempfile.TemporaryDirectory() as folder:
        simulate(world, **options).save(Path(folder) / "scene")
        fit(Path(folder) / "scene", Path(folder) / "run", preset, teacher="scene")
        run = Run.open(Path(folder) / "run")  # as a person would, from the files
        figures = evaluate(run.field, run.scene, train=False)
        figures["train_seconds"] = read_json(run.folder / "metrics.json")["train_seconds"]
        figures["gaussians"] = run.field.count
    print_table(figures)
    values = {
        "PSNR, dB": figures["psnr"],
        "SSIM": figures["ssim"],
        "mean IoU of objects": figures.get("masks", {}).get("objects", {}).get("iou"),
        "median track error, of size": figures.get("tracks", {}).get("median_of_size"),
        "training, s": figures["train_seconds"],
        "rendering, s per frame": figures["render_seconds"],
        "Gaussians": figures["gaussians"],
    }
    table = Table(f"{world}, preset {preset}, on {os.environ.get('SEMAFLOW_DEVICE', 'cpu')}", ["figure", "value"])
    for figure, value in values.items():
        if value is not None:
            table.add(figure=figure, value=value)
    return table


def main() -> int:
    if not torch.cuda.is_available():
        print("gpu: torch finds no CUDA device here, so nothing was run", file=sys.stderr)
        return 2
    os.environ["SEMAFLOW_DEVICE"] = "cuda"
    taken_on = machine()
    tested = kernels_tested()
    tables, failed = all_of(steps())
    if not tested:
        failed.insert(0, "the kernels' tests")
    taken_on["failed"] = failed
    print(f"\nwritten to {write('gpu', taken_on, tables)}")
    print(f"gpu: failed: {', '.join(failed)}" if failed else "gpu: all went well")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
