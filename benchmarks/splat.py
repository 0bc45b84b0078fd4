"""The splatting kernels against a C++ rasterizer and against plain torch, on the CPU.

One camera, forward and backward to means, quaternions, scales, opacities and colours. The torch
peer is given the projection and the list of contributing pairs, and only composites. Times are the
best of several rounds in a warm process on all cores; the contenders take turns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import warp as wp
from semaflow.kernels import bridge, splat
from torch import Tensor

from .peers.compiled import CompiledRasterizer, Unavailable
from .peers.torch_compositing import Pairs, composite, find_pairs
from .table import Table, cores, milliseconds

CHANNELS = (3, 16, 64, 384)
TORCH_CHANNELS = (3, 16)  # beyond that a frame takes it many seconds and gigabytes


@dataclass
class Scene:
    """Random Gaussians before one camera."""

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    viewmat: Tensor
    K: Tensor
    width: int
    height: int
    colors: Tensor | None = None

    @property
    def inputs(self) -> list[Tensor]:
        """What is differentiated, in the order that rasterizers take it."""
        return [self.means, self.quats, self.scales, self.opacities, self.colors]

    def painted(self, channels: int) -> Scene:
        """The same Gaussians with random colours of so many channels, as leaves that require
        gradients."""
        g = torch.Generator().manual_seed(channels)
        leaves = [
            x.detach().clone().requires_grad_(True)
            for x in (*self.inputs[:4], torch.rand(len(self.means), channels, generator=g).to(self.means))
        ]
        return Scene(*leaves[:4], self.viewmat, self.K, self.width, self.height, leaves[4])

    def to(self, device: str) -> Scene:
        """The same Gaussians, not painted, and their camera on ``device``."""
        names = ("means", "quats", "scales", "opacities", "viewmat", "K")
        return replace(self, **{name: getattr(self, name).detach().to(device) for name in names}, colors=None)

    def render(self, rasterization=splat.rasterization, **options) -> tuple[Tensor, Tensor, dict]:
        """Image [H, W, D], alpha [H, W] and metadata by ``rasterization``, ours or one that takes the same."""
        image, alpha, meta = rasterization(
            *self.inputs, self.viewmat[None], self.K[None], self.width, self.height, **options
        )
        return image.squeeze(0), alpha.squeeze((0, -1)), meta


def random_scene(count: int, width: int, height: int, radius: float, seed: int = 0) -> Scene:
    """Gaussians spread over the view, ``radius`` pixels large on average: half extents at the 1/255
    cut-off, over both axes and all Gaussians that are seen."""
    g = torch.Generator().manual_seed(seed)
    depth = 2 + 6 * torch.rand(count, generator=g)
    focal = 0.8 * width
    pixels = torch.rand(count, 2, generator=g) * torch.tensor([width, height]) * 1.1 - 0.05 * torch.tensor(
        [width, height]
    )
    means = torch.cat([(pixels - torch.tensor([width, height]) / 2) / focal, torch.ones(count, 1)], 1)
    scene = Scene(
        means=means * depth[:, None],
        quats=torch.randn(count, 4, generator=g),
        scales=torch.exp(0.5 * torch.randn(count, 3, generator=g)) * depth[:, None] / focal,
        opacities=0.05 + 0.9 * torch.rand(count, generator=g),
        viewmat=torch.eye(4),
        K=torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]]),
        width=width,
        height=height,
    )
    for _ in range(8):
        scene.scales *= radius / mean_radius(scene)
    return scene


@torch.no_grad()
def mean_radius(scene: Scene) -> float:
    """Mean half extent in pixels, before rounding up, of the Gaussians in view."""
    meta = scene.painted(1).render(packed=True)[2]
    A, B, C = meta["conics"].unbind(-1)
    reach = 2 * torch.log(255 * meta["opacities"])
    extents = (reach / (A * C - B * B)).sqrt()[:, None] * torch.stack([C, A], -1).sqrt()
    return float(extents.mean())


class Ours:
    """One frame by semaflow, or by another ``rasterization`` that takes the same."""

    def __init__(self, scene: Scene, g_image: Tensor, g_alpha: Tensor, rasterization=splat.rasterization):
        self.scene, self.gradients, self.rasterization = scene, (g_image, g_alpha), rasterization

    def forward(self):
        self.image, self.alpha, _ = self.scene.render(self.rasterization)

    def backward(self):
        for leaf in self.scene.inputs:
            leaf.grad = None
        torch.autograd.backward((self.image, self.alpha), self.gradients)


class Compiled:
    """One frame by the C++ peer."""

    def __init__(self, scene: Scene, g_image: Tensor, g_alpha: Tensor):
        self.rasterizer = CompiledRasterizer(g_image.shape[-1], bridge.threads())
        self.scene, self.gradients = scene, (g_image, g_alpha)

    def forward(self):
        self.image, self.alpha = self.rasterizer.forward(self.scene)

    def backward(self):
        self.rasterizer.backward(*self.gradients)


class Torch:
    """The compositing of one frame in plain torch."""

    def __init__(self, scene: Scene, g_image: Tensor, g_alpha: Tensor, pairs, meta: dict):
        self.pairs, self.gradients = pairs, (g_image.flatten(0, 1), g_alpha.flatten())
        self.leaves = [
            x.detach().clone().requires_grad_(True)
            for x in (meta["means2d"][0], meta["conics"][0], scene.opacities, scene.colors)
        ]

    def forward(self):
        self.image, self.alpha = composite(self.pairs, *self.leaves, len(self.gradients[1]))

    def backward(self):
        for leaf in self.leaves:
            leaf.grad = None
        torch.autograd.backward((self.image, self.alpha), self.gradients)


def difference(image: Tensor, other: Tensor) -> Tensor:
    """Largest difference of two images at each pixel, relative to their largest value, [P]."""
    image, other = image.detach().flatten(0, -2), other.detach().flatten(0, -2)
    return (image - other).abs().amax(-1) / other.abs().max()


@torch.no_grad()
def pairs_of(scene: Scene) -> tuple[Pairs, Tensor, dict]:
    """What the torch peer is given, and which pixels rounding decides (see :func:`find_pairs`), and our metadata."""
    meta = scene.painted(1).render(packed=False)[2]
    projected = (meta[name][0] for name in ("means2d", "radii", "depths", "conics"))
    return *find_pairs(*projected, scene.opacities, scene.width, scene.height), meta


def image_gradients(scene: Scene, channels: int) -> tuple[Tensor, Tensor]:
    """Random gradients of an image [H, W, D] and its alpha [H, W]."""
    g = torch.Generator().manual_seed(1)
    size = (scene.height, scene.width)
    return torch.randn(*size, channels, generator=g), torch.randn(size, generator=g)


def contest(scene: Scene, title: str, channels: tuple[int, ...], seconds: float = 5.0) -> Table:
    """All contenders on one scene; each is timed for about ``seconds``."""
    columns = [
        "D",
        "who",
        "forward ms",
        "backward ms",
        "frame ms",
        "x C++",
        "exponent",
        "difference",
        "settled",
    ]
    table = Table(title, columns)
    pairs, close, meta = pairs_of(scene)
    table.notes += [
        f"{len(scene.means)} Gaussians, {scene.width}x{scene.height}, "
        f"mean radius {mean_radius(scene):.2f} px, "
        f"{len(pairs) / 1e6:.2f}M contributing pairs, {bridge.threads()} threads on {cores()} cores",
        "torch composites only: its projection and its pairs come for free",
        "exponent: growth of the frame's time with D since the row above of the same contender",
        "C++ and semaflow project by the same float32 expressions, torch composites in an order of its own",
        "difference: largest difference to the C++ image, relative to its largest value;",
        f"settled: the same without {int(close.sum())} pixels where rounding decides a cut-off",
    ]
    last: dict[str, tuple[int, float]] = {}
    for D in channels:
        painted = scene.painted(D)
        gradients = image_gradients(scene, D)
        contenders = {"semaflow": Ours(painted, *gradients)}
        try:
            contenders = {"C++": Compiled(painted, *gradients), **contenders}
        except Unavailable as reason:
            table.notes.append(f"no C++ at D={D}: {reason}")
        if D in TORCH_CHANNELS:
            contenders["torch"] = Torch(painted, *gradients, pairs, meta)
        steps = ((c.forward, c.backward) for c in contenders.values())
        times = milliseconds(*steps, seconds=seconds)
        frames = {who: sum(steps) for who, steps in zip(contenders, times, strict=True)}
        for i, (who, contender) in enumerate(contenders.items()):
            figures = {
                "forward ms": times[i][0],
                "backward ms": times[i][1],
                "frame ms": frames[who],
            }
            if "C++" in contenders:
                figures["x C++"] = frames[who] / frames["C++"]
                if who != "C++":
                    error = difference(contender.image, contenders["C++"].image)
                    figures["difference"] = float(error.max())
                    figures["settled"] = float(error[~close].max())
            if who in last:
                figures["exponent"] = math.log(frames[who] / last[who][1]) / math.log(D / last[who][0])
            last[who] = (D, frames[who])
            table.add(D=D, who=who, **figures)
        if "C++" in contenders:
            stages = contenders["C++"].rasterizer.stages()
            table.notes.append(f"C++ D={D}, ms: " + ", ".join(f"{k} {v:.1f}" for k, v in stages.items()))
    return table


@wp.kernel(enable_backward=False)
def _nothing(points: wp.array(dtype=wp.vec3), first: int):
    points[wp.tid() + first] = points[wp.tid() + first]


def overhead() -> Table:
    """What a call costs before there is any work."""
    table = Table("cost of a call (4 Gaussians, 16x16 pixels, D=3)", ["what", "us"])
    scene = random_scene(4, 16, 16, 3.0).painted(3)
    ours = Ours(scene, torch.ones(16, 16, 3), torch.ones(16, 16))
    geometry, image = [x.detach() for x in scene.inputs[:4]], torch.ones(1, 16, 16, 3)
    points = geometry[0]
    steps = {
        "hand a tensor to Warp": lambda: bridge.share(points, wp.vec3),
        "launch a kernel": lambda: bridge.launch(_nothing, 4, [bridge.share(points, wp.vec3)], points),
        "uplift": lambda: splat.uplift(*geometry, image, scene.viewmat[None], scene.K[None]),
    }
    times = milliseconds((ours.forward, ours.backward), *((s,) for s in steps.values()), seconds=1)
    names = ("rasterization", "its backward", *steps)
    for what, time in zip(names, (x for group in times for x in group), strict=True):
        table.add(what=what, us=1e3 * time)
    return table


def run() -> list[Table]:
    from . import sizes

    torch.set_num_threads(bridge.threads())
    return [
        contest(random_scene(50_000, 480, 270, 6.0), "splatting, 480x270", (3, 16, 35)),
        contest(random_scene(50_000, 480, 270, 12.0), "splatting, 480x270, dense", (3, 35)),
        contest(random_scene(20_000, 240, 135, 6.0), "splatting, 240x135", (3, 16)),
        *sizes.tables(),
        overhead(),
    ]
