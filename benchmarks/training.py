"""Where the time of a training step goes, on the CPU, and what its helpers take against other ways.

The world ``balls`` is filmed, 24,000 Gaussians are put where its surfaces are and carried by a scaffold of its true
trajectories, and trained with preset ``fast``. A step's parts are measured on one thread and on all cores, each in a
process of its own; the alternatives take turns in this one, on as many threads as ``SEMAFLOW_THREADS`` says. On one
thread the process's CPU time is taken, which others on the machine disturb least. With others there, figures on more
threads say little: torch's threads wait for one another at every operation.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import torch
from semaflow.fields import losses
from semaflow.fields.gaussians import optimizer, trainer
from semaflow.fields.gaussians.config import preset
from semaflow.fields.gaussians.initialize import anchor, from_points
from semaflow.fields.motion import NodeScaffold
from semaflow.kernels import bridge
from semaflow.kernels.neighbors import nearest
from semaflow.kernels.splat import functions
from semaflow.scenes import PointCloud, Scene, simulate
from torch import Tensor

from . import splat
from .peers.adam import BETAS, EPSILON, KernelAdam
from .peers.morton import morton_order
from .peers.opencv_loss import photometric as opencv_photometric
from .table import Table, cores, milliseconds

GAUSSIANS, NODES, FRAMES = 24_000, 300, 24
WARM, STEPS = 40, 80
SIZES = ((240, 135), (480, 270), (960, 540))
COUNTS = (24_000, 200_000, 1_000_000)
CLOCK = time.process_time if bridge.threads() == 1 else time.perf_counter
WIDTHS = {"means": 3, "log_scales": 3, "quats": 4, "opacity_logits": 1, "sh_dc": 3, "light": 16}  # of preset fast


def prepared(scene: Scene, count: int = GAUSSIANS) -> trainer.Trainer:
    """A trainer of ``count`` Gaussians on the true surfaces of ``scene``, moved by its true trajectories."""
    g = torch.Generator().manual_seed(0)
    frames = scene.split("train")
    share = -(-count // len(frames))
    positions, colors, times = [], [], []
    for frame in frames:
        x = torch.randint(frame.camera.width, (share,), generator=g)
        y = torch.randint(frame.camera.height, (share,), generator=g)
        positions.append(frame.camera.unproject(torch.stack([x, y], 1) + 0.5, frame.depth[y, x]))
        colors.append(frame.image[y, x])
        times.append(torch.where(frame.mask[y, x], frame.time, torch.nan))
    points = PointCloud(*(torch.cat(parts)[:count] for parts in (positions, colors, times)))
    paths = scene.tracks.positions
    paths = paths[(paths - paths[:, :1]).norm(dim=-1).amax(1) > 1e-3]
    paths = paths[torch.randperm(len(paths), generator=g)[:NODES]]
    scaffold = NodeScaffold.from_trajectories(paths, scene.tracks.times.float(), 0)
    config = preset("fast")
    places, anchors = anchor(points, scaffold)
    field = from_points(
        PointCloud(places, points.colors), config.sh_degree, scaffold, anchors, scene.background, lights=config.lights
    )
    return trainer.Trainer(field, scene, config)


@contextlib.contextmanager
def clocked(*parts: tuple[object, str, str]):
    """Adds up the seconds spent in attributes of objects while it lasts: ``(owner, attribute, name of the part)``."""
    spent, kept = defaultdict(float), []
    for owner, attribute, part in parts:
        function = getattr(owner, attribute)

        def timed(*arguments, function=function, part=part, **options):
            start = CLOCK()
            try:
                return function(*arguments, **options)
            finally:
                spent[part] += CLOCK() - start

        kept.append((owner, attribute, vars(owner).get(attribute)))
        replacement = staticmethod(timed) if isinstance(kept[-1][2], staticmethod) else timed
        setattr(owner, attribute, replacement)
    try:
        yield spent
    finally:
        for owner, attribute, original in kept:
            delattr(owner, attribute) if original is None else setattr(owner, attribute, original)


def step_parts(training: trainer.Trainer, warm: int = WARM, steps: int = STEPS) -> dict[str, float]:
    """Milliseconds of the parts of a step: means over the fastest quarter of the steps."""
    parts = (
        (training.field, "at", "pose"), (trainer.splat, "rasterization", "render"), (trainer, "photometric", "loss"),
        (training, "_motion_terms", "regularisers"), (trainer, "unevenness", "regularisers"),
        (torch.Tensor, "backward", "backward"), (functions.Composite, "backward", "backward: compositing"),
        (functions.Project, "backward", "backward: projection"), (losses._Photometric, "backward", "backward: loss"),
        (training.density, "observe", "statistics"), (optimizer, "step", "Adam"),
    )  # fmt: skip
    for _ in range(warm):
        training.step()
    taken = []
    for _ in range(steps):
        with clocked(*parts) as spent:
            start = CLOCK()
            training.step()
            whole = CLOCK() - start
        inner = sum(value for part, value in spent.items() if part.startswith("backward: "))
        outer = sum(value for part, value in spent.items() if not part.startswith("backward: "))
        spent["backward: pose, regularisers"] = spent.pop("backward") - inner
        spent["all else"] = whole - outer
        spent["step"] = whole
        taken.append(spent)
    fastest = sorted(taken, key=lambda spent: spent["step"])[: -(-steps // 4)]
    return {part: 1e3 * sum(spent[part] for spent in fastest) / len(fastest) for part in fastest[0]}


def parts_table(threads: tuple[int, ...]) -> Table:
    """The parts of a step on so many threads, in processes of their own."""
    found = {}
    for count in threads:
        environment = {**os.environ, "SEMAFLOW_THREADS": str(count), "OMP_NUM_THREADS": str(count)}
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.training"], cwd=Path(__file__).parent.parent, env=environment,
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        found[count] = json.loads(done.stdout.splitlines()[-1])
    columns = ["part"] + [f"{what}, {n} threads" for n in threads for what in ("ms", "share")]
    table = Table(f"a training step, {GAUSSIANS} Gaussians, 240x135, preset fast", columns)
    table.notes.append("means over the fastest quarter of the steps")
    for part in found[threads[0]]:
        figures = {}
        for n in threads:
            figures |= {f"ms, {n} threads": found[n][part], f"share, {n} threads": found[n][part] / found[n]["step"]}
        table.add(part=part, **figures)
    return table


def compared(title: str) -> Table:
    """An empty table of alternatives."""
    kind = "CPU time" if CLOCK is time.process_time else "time"
    notes = [f"{bridge.threads()} threads on {cores()} cores, {kind}; x first: that of the first by this one's"]
    return Table(title, ["size", "who", "ms", "x first"], notes=notes)


def ways(title: str, contenders: dict[str, tuple], seconds: float, table: Table) -> None:
    """One row for each contender, whose steps are functions."""
    times = milliseconds(*contenders.values(), seconds=seconds, clock=CLOCK)
    first = sum(times[0])
    for who, steps in zip(contenders, times, strict=True):
        table.add(size=title, who=who, ms=sum(steps), **{"x first": first / sum(steps)})


def losses_table(sizes=SIZES, seconds: float = 1.0) -> Table:
    """The photometric loss and its gradient."""
    table = compared("photometric loss, forward and backward")
    g = torch.Generator().manual_seed(0)
    for width, height in sizes:
        image = torch.rand(height, width, 3, generator=g)
        target = (image + 0.1 * torch.randn(image.shape, generator=g)).clamp(0, 1)
        image.requires_grad_(True)

        def convolutions(a: Tensor, b: Tensor) -> Tensor:
            return 0.8 * (a - b).abs().mean() + 0.2 * (1 - losses._similarity(a, b))

        def whole(loss, image=image, target=target):
            return (lambda: torch.autograd.grad(loss(image, target), image),)

        contenders = {"torch and OpenCV": whole(opencv_photometric), "semaflow": whole(losses.photometric)}
        if width * height <= 1 << 17:
            contenders["torch's convolutions"] = whole(convolutions)
        ways(f"{width}x{height}", contenders, seconds, table)
    return table


def adam_table(counts=COUNTS, seconds: float = 1.0) -> Table:
    """Adam over the parameters of Gaussians; of the visible-only ones 60% are seen, here and there."""
    table = compared("Adam, parameters of preset fast")
    for count in counts:
        parameters = [torch.nn.Parameter(torch.randn(count, width)) for width in WIDTHS.values()]
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        seen = torch.rand(count) < 0.6

        def torchs(parameters=parameters, **how):
            groups = [{"params": [parameter], "lr": 1e-3} for parameter in parameters]  # an optimizer writes into them
            return torch.optim.Adam(groups, betas=BETAS, eps=EPSILON, **how).step

        kernel = KernelAdam(parameters, 1e-3)
        contenders = {
            "torch, fused": (torchs(fused=True),),
            "torch, for each": (torchs(foreach=True),),
            "kernel": (kernel.step,),
            "kernel, visible only": (lambda kernel=kernel, seen=seen: kernel.step(seen),),
        }
        ways(f"{count}", contenders, seconds, table)
    return table


def order_table(counts=COUNTS, seconds: float = 2.0) -> Table:
    """A frame of Gaussians that lie in memory at random, and along Morton's curve."""
    table = compared("rasterisation, forward and backward, by the order in memory")
    for count in counts:
        width = 240 if count < 100_000 else 480 if count < 500_000 else 960
        scene = splat.random_scene(count, width, width * 9 // 16, 4.0)
        g = torch.Generator().manual_seed(1)
        contenders = {}
        for who, order in (("random", torch.randperm(count, generator=g)), ("Morton", morton_order(scene.means))):
            fields = ("means", "quats", "scales", "opacities")
            turned = splat.Scene(
                **{name: getattr(scene, name)[order] for name in fields}, viewmat=scene.viewmat, K=scene.K,
                width=scene.width, height=scene.height,
            ).painted(3)  # fmt: skip
            contender = splat.Ours(turned, *splat.image_gradients(scene, 3))
            contenders[who] = (contender.forward, contender.backward)
        ways(f"{count}, {scene.width}x{scene.height}", contenders, seconds, table)
        sort = milliseconds((lambda scene=scene: morton_order(scene.means),), seconds=0.2, clock=CLOCK)[0][0]
        table.notes.append(f"finding the order of {count} takes {sort:.1f} ms")
    return table


def neighbors_table(counts=(12_000, 100_000), seconds: float = 1.0) -> Table:
    """Three nearest neighbours of points on a surface, for initial scales."""
    table = compared("three nearest neighbours")
    for count in counts:
        g = torch.Generator().manual_seed(0)
        points = torch.nn.functional.normalize(torch.randn(count, 3, generator=g), dim=1)

        def pairwise(points=points):
            return [torch.cdist(rows, points).topk(4, largest=False) for rows in points.split(1024)]

        contenders = {"semaflow": (lambda points=points: nearest(points, 3),)}
        if count <= 20_000:
            contenders = {"torch, all pairs": (pairwise,)} | contenders
        ways(f"{count}", contenders, seconds, table)
    return table


def run() -> list[Table]:
    torch.set_num_threads(bridge.threads())
    threads = (1, cores()) if cores() > 1 else (1,)
    return [parts_table(threads), losses_table(), adam_table(), order_table(), neighbors_table()]


if __name__ == "__main__":
    print(json.dumps(step_parts(prepared(simulate("balls", frames=FRAMES, test=0)))))
