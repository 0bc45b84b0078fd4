"""Features of maps where points project, against torch's projection and ``grid_sample``.

Forward and backward, gradients in maps, points, viewmats and Ks. Points are spread at random over the views, which is
the worst for caches. Times are the best of several rounds in a warm process on all cores; the contenders take turns.

Epipolar gathering as perception fields do it, samples along rays through the maps of several views, is measured with
the attention over the views that follows it too: the same attention for both, on features gathered in either way.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from semaflow.kernels import bridge, gather
from torch import Tensor

from . import memory
from .table import Table, cores, milliseconds

WIDTH, HEIGHT = 480, 270
STRIDE = 4  # pixels per cell of a map, as of an encoder's finest features
LOOKUPS = 1 << 16  # points times views
CHANNELS = (3, 64, 384)
VIEWS = (1, 8)
EPIPOLAR = ((1, 3), (2, 16), (2, 64))  # pictures, colour maps and semantic maps of a perception field, preset fast
ALONG = 24  # samples of a ray
PYRAMID = ((2, 64), (4, 64), (8, 128), (16, 256))  # (stride, channels) of an encoder's levels, as in GP-NeRF


@dataclass
class Scene:
    """Random maps, and points that all views see."""

    levels: list[Tensor]  # [V, C, h, w]
    points: Tensor
    viewmats: Tensor
    Ks: Tensor


def random_scene(views: int, levels: tuple[tuple[int, int], ...], lookups: int = LOOKUPS, dtype=torch.float32) -> Scene:
    """Views side by side, with ``levels`` of (stride, channels); ``lookups`` are points times views."""
    g = torch.Generator().manual_seed(0)
    count, focal = lookups // views, 0.8 * WIDTH
    size = torch.tensor([WIDTH, HEIGHT])
    depth = 2 + 6 * torch.rand(count, 1, generator=g)
    pixels = (0.1 + 0.8 * torch.rand(count, 2, generator=g)) * size
    viewmats = torch.eye(4).repeat(views, 1, 1)
    viewmats[:, :2, 3] = 0.1 * torch.rand(views, 2, generator=g) - 0.05
    K = torch.tensor([[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]])
    return Scene(
        [
            torch.randn(views, channels, -(-HEIGHT // stride), -(-WIDTH // stride), generator=g).to(dtype)
            for stride, channels in levels
        ],
        torch.cat([(pixels - size / 2) / focal, torch.ones(count, 1)], 1) * depth,
        viewmats,
        K.repeat(views, 1, 1),
    )


class Contender:
    """One call of ``sample`` on leaves, and its backward."""

    def __init__(self, inputs: list[Tensor]):
        self.leaves = [x.requires_grad_(True) for x in inputs]
        self.gradient = None

    def forward(self):
        self.features = self.sample(*self.leaves)

    def backward(self):
        for leaf in self.leaves:
            leaf.grad = None
        if self.gradient is None:
            self.gradient = torch.randn_like(self.features)
        self.features.backward(self.gradient)


def inputs(scene: Scene, memory_format: torch.memory_format, device: str) -> list[Tensor]:
    """Copies of a scene's tensors on ``device``; ``memory_format`` is how the maps lie."""
    levels = [x.to(device, memory_format=memory_format, copy=True) for x in scene.levels]
    return [*(x.to(device, copy=True) for x in (scene.points, scene.viewmats, scene.Ks)), *levels]


class Ours(Contender):
    """Features [P, V, C]."""

    def sample(self, points, viewmats, Ks, *levels) -> Tensor:
        return gather.sample_views(levels, points, viewmats, Ks, WIDTH, HEIGHT)[0]

    def rows(self) -> Tensor:
        return self.features


class Torch(Contender):
    """Features [V, C, P] as ``grid_sample`` leaves them; what is not valid is known but not masked."""

    def sample(self, points, viewmats, Ks, *levels) -> Tensor:
        local = points @ viewmats[:, :3, :3].mT + viewmats[:, None, :3, 3]
        depth = local[..., 2]
        pixels = (local / depth[..., None]) @ Ks[:, :2].mT
        size = pixels.new_tensor([WIDTH, HEIGHT])
        self.valid = (depth >= 0.01) & ((pixels >= 0) & (pixels < size)).all(-1)
        grid = (2 * pixels / size - 1)[:, :, None]
        found = [
            torch.nn.functional.grid_sample(x.float(), grid, align_corners=False, padding_mode="border") for x in levels
        ]
        return torch.cat(found, 1)[..., 0]

    def rows(self) -> Tensor:
        return self.features.permute(2, 0, 1)


CONTENDERS = {
    "semaflow, channels last": (Ours, torch.channels_last),
    "semaflow, channels first": (Ours, torch.contiguous_format),
    "torch, channels last": (Torch, torch.channels_last),
    "torch, channels first": (Torch, torch.contiguous_format),
}


def copy_speed(device: str) -> float:
    """Bytes read and written per millisecond when a large tensor is copied."""
    source = torch.randn(1 << 24, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / milliseconds((lambda: target.copy_(source),), seconds=1, device=device)[0][0]


def least_bytes(scene: Scene) -> int:
    """Bytes that cannot be avoided: maps read twice, and their gradient written; features written, and their gradient
    read."""
    lookups = len(scene.points) * len(scene.viewmats)
    return sum(3 * x.nbytes for x in scene.levels) + 2 * 4 * lookups * sum(x.shape[1] for x in scene.levels)


def contest(title: str, scenes: dict[str, Scene], device: str = "cpu", seconds: float = 1.5) -> Table:
    """All contenders on every scene."""
    columns = ["scene", "who", "forward ms", "backward ms", "both ms", "x torch", "of copy", "exponent", "difference"]
    table = Table(title, columns)
    speed = copy_speed(device)
    table.notes += [
        f"image {WIDTH}x{HEIGHT}, {bridge.threads()} threads on {cores()} cores, {device}",
        "x torch: time of the faster of torch's by this one's",
        f"of copy: share of the speed of a copy ({speed / 1e6:.1f} GB/s, read and written), for the bytes that any",
        "method has to move: maps twice and their gradient, features and their gradient",
        "exponent: growth of the time with the channels since the row above of the same contender and as many views",
        "channels first: semaflow copies the maps, and torch.autograd their gradient, to the other layout; in the time",
        "difference: largest difference to torch's features, relative to their largest value",
    ]
    last = {}
    for name, scene in scenes.items():
        contenders = {who: kind(inputs(scene, layout, device)) for who, (kind, layout) in CONTENDERS.items()}
        times = milliseconds(*((c.forward, c.backward) for c in contenders.values()), seconds=seconds, device=device)
        both = {who: sum(steps) for who, steps in zip(contenders, times, strict=True)}
        best = min(spent for who, spent in both.items() if who.startswith("torch"))
        truth = contenders["torch, channels first"]
        assert bool(truth.valid.all()), "a point is not seen, which torch does not mask"
        truth = truth.rows().detach()
        channels, views = truth.shape[2], truth.shape[1]
        for (who, contender), (forward, backward) in zip(contenders.items(), times, strict=True):
            figures = {"x torch": best / both[who], "of copy": least_bytes(scene) / speed / both[who]}
            figures["difference"] = float((contender.rows().detach() - truth).abs().max() / truth.abs().max())
            before, spent = last.get((who, views), (channels, both[who]))
            if before != channels:
                figures["exponent"] = math.log(both[who] / spent) / math.log(channels / before)
            last[who, views] = channels, both[who]
            steps = {"forward ms": forward, "backward ms": backward, "both ms": both[who]}
            table.add(scene=name, who=who, **steps, **figures)
    return table


def tables(device: str = "cpu", lookups: int = LOOKUPS, seconds: float = 1.5) -> list[Table]:
    """One map of few to many channels, seen by one view and by many; and a pyramid."""
    single = {f"{views} views, {channels}": (views, channels) for views in VIEWS for channels in CHANNELS}
    pyramid = {f"{dtype}".removeprefix("torch."): dtype for dtype in (torch.float32, torch.float16)}
    return [
        contest(
            f"gather, {lookups} points times views, one map of {WIDTH // STRIDE}x{-(-HEIGHT // STRIDE)}",
            {name: random_scene(views, ((STRIDE, channels),), lookups) for name, (views, channels) in single.items()},
            device,
            seconds,
        ),
        contest(
            f"gather, {lookups} points times views, 4 views, a pyramid of (stride, channels) {PYRAMID}",
            {name: random_scene(4, PYRAMID, lookups, dtype) for name, dtype in pyramid.items()},
            device,
            seconds,
        ),
    ]


class Attending(Contender):
    """The attention over views of a perception field on what another contender gathers: tokens [P, width].

    Gradients in maps and networks; cameras and points are given, as in its training.
    """

    def __init__(self, gatherer: type[Contender], inputs: list[Tensor], width: int = 32):
        from semaflow.fields.perception.view_transformer import ViewBlock, first_query

        torch.manual_seed(0)
        points, viewmats, Ks, *levels = inputs
        channels = sum(x.shape[1] for x in levels)
        self.enter = torch.nn.Linear(channels, width).to(points.device)
        self.block, self.first = ViewBlock(width, 2, 0.0).to(points.device), first_query
        self.gatherer, self.given = gatherer, (points, viewmats, Ks)
        self.differences = torch.randn(len(points), len(viewmats), 4, device=points.device)
        self.seen = torch.ones(len(points), len(viewmats), dtype=torch.bool, device=points.device)
        super().__init__(levels)

    def sample(self, *levels) -> Tensor:
        found = self.gatherer.sample(self, *self.given, *levels)
        rows = found.permute(2, 0, 1) if self.gatherer is Torch else found
        tokens = self.enter(rows)
        return self.block(self.first(tokens, self.seen), tokens, self.differences, self.seen)[0]


def attention_scene(samples: int = 4096) -> Scene:
    """About as many samples along rays through the pictures, colour maps and semantic maps of four views."""
    scene = random_scene(4, EPIPOLAR, 4 * (samples // ALONG))
    depths = torch.linspace(2, 8, ALONG)
    scene.points = (scene.points / scene.points[:, 2:] * depths[:, None, None]).transpose(0, 1).flatten(0, 1)
    return scene


def attending(who: str, scene: Scene, device: str) -> Attending:
    kind, layout = CONTENDERS[who]
    return Attending(kind, inputs(scene, layout, device))


def attention_peak(who: str, samples: int, device: str) -> float:
    """MiB that a forward and a backward pass add, at their peak, to what there is before; in a process of its own."""
    warm = attending(who, attention_scene(64), device)  # compiled and loaded, kernels are there before
    warm.forward()
    warm.backward()
    contender = attending(who, attention_scene(samples), device)
    memory.forget_peak(device)
    before = memory.peak(device)
    contender.forward()
    contender.backward()
    return memory.peak(device) - before


def attention(samples: int = 16384, device: str = "cpu", seconds: float = 3.0, peak: bool = True) -> Table:
    """Gathering with the attention over views, all contenders."""
    columns = ["who", "forward ms", "backward ms", "both ms", "x torch", "MiB", "memory of torch", "difference"]
    table = Table(f"gather and attention over 4 views, {samples} samples, (stride, channels) {EPIPOLAR}", columns)
    scene = attention_scene(samples)
    contenders = {who: attending(who, scene, device) for who in CONTENDERS}
    clock = time.process_time if device == "cpu" else time.perf_counter
    steps = ((c.forward, c.backward) for c in contenders.values())
    times = milliseconds(*steps, seconds=seconds, device=device, clock=clock)
    both = {who: sum(spent) for who, spent in zip(contenders, times, strict=True)}
    best = min(spent for who, spent in both.items() if who.startswith("torch"))
    truth = contenders["torch, channels first"].features.detach()
    peaks = {}
    for who in contenders if peak else ():
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            peaks[who] = pool.submit(attention_peak, who, samples, device).result()
    least = min((peak for who, peak in peaks.items() if who.startswith("torch")), default=None)
    for (who, contender), (forward, backward) in zip(contenders.items(), times, strict=True):
        figures = {"MiB": peaks[who], "memory of torch": peaks[who] / least} if peak else {}
        figures["difference"] = float((contender.features.detach() - truth).abs().max() / truth.abs().max())
        steps = {"forward ms": forward, "backward ms": backward, "both ms": both[who]}
        table.add(who=who, **steps, **{"x torch": best / both[who]}, **figures)
    table.notes += [
        f"image {WIDTH}x{HEIGHT}, {bridge.threads()} threads on {cores()} cores, {device}",
        "times on the processor, on CUDA as they pass",
        "x torch: time of the faster of torch's by this one's; memory of torch: share of the lesser of torch's",
        "MiB: what a forward and a backward pass add at their peak, each in a process of its own",
    ]
    return table


def run() -> list[Table]:
    torch.set_num_threads(bridge.threads())
    return [*tables(), attention()]
