"""One view drawn in several sets of channels: made once, against made for each of them; and what else could be kept.

One camera, forward only, warm. The contenders take turns; times are the best, by time on the processor.
"""

from __future__ import annotations

import time
import warnings

import torch
from semaflow.kernels import bridge, splat
from torch import Tensor

from .splat import Scene, random_scene
from .table import Table, cores, milliseconds

CHANNELS = (1, 3, 35)
STRONGEST = (4, 8, 16)


def view_of(scene: Scene) -> splat.View:
    """The view of a scene's Gaussians from its camera, without gradients."""
    with torch.no_grad():
        return splat.view(*scene.inputs[:4], scene.viewmat, scene.K, scene.width, scene.height)


def nbytes(*tensors: Tensor | None) -> int:
    """Memory that tensors lie in, each block counted once."""
    blocks = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in tensors if x is not None}
    return sum(blocks.values())


def kept_by(view: splat.View) -> int:
    """Bytes of a view, the Gaussians that it was made of left out."""
    return nbytes(*(x for x in vars(view.frame).values() if isinstance(x, Tensor)))


def reuse(scene: Scene, title: str, seconds: float = 2.0) -> Table:
    """Pictures and lifted maps of a view that is there, against those that make their own."""
    table = Table(title, ["what", "D", "own ms", "of a view ms", "times faster"])
    geometry = [x.detach() for x in scene.inputs[:4]]
    cameras = scene.viewmat[None], scene.K[None]
    view = view_of(scene)
    steps, names = [(lambda: view_of(scene),)], []
    g = torch.Generator().manual_seed(0)
    for D in CHANNELS:
        colors = torch.rand(len(view), D, generator=g)
        maps = torch.rand(scene.height, scene.width, D, generator=g)
        names += [("picture", D), ("uplift", D)]
        steps += [
            (
                lambda colors=colors: splat.rasterization(*geometry, colors, *cameras, scene.width, scene.height),
                lambda colors=colors: view.render(colors),
            ),
            (
                lambda maps=maps: splat.uplift(*geometry, maps[None], *cameras, normalize=False),
                lambda maps=maps: view.uplift(maps, normalize=False),
            ),
        ]
    names.append(("contributors, k=4", None))
    steps.append(
        (
            lambda: splat.contributors(*geometry, *cameras, scene.width, scene.height, k=4),
            lambda: view.contributors(k=4),
        )
    )
    (making,), *times = milliseconds(*steps, seconds=seconds, clock=time.process_time)
    for (what, D), (own, reused) in zip(names, times, strict=True):
        table.add(what=what, D=D, **{"own ms": own, "of a view ms": reused, "times faster": own / reused})
    table.notes += [
        f"{len(view)} Gaussians, {scene.width}x{scene.height}, {len(view.frame.list)} intersections with tiles",
        f"a view: {making:.1f} ms to make, {kept_by(view) / 2**20:.1f} MiB, {kept_by(view) / len(view):.0f} bytes "
        "a Gaussian",
        f"times on the processor, {bridge.threads()} threads on {cores()} cores",
    ]
    return table


def masks(scene: Scene, title: str, seconds: float = 2.0) -> Table:
    """A mask drawn from what could be kept of a view: its lists, all weights of all pixels, or the strongest only."""
    table = Table(title, ["kept", "ms", "MiB", "largest error", "pixels that flip"])
    view = view_of(scene)
    chosen = (torch.rand(len(view), 1, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    truth = view.render(chosen)[0]
    pixels = scene.height * scene.width
    contenders = {"the view": (lambda: view.render(chosen)[0], kept_by(view))}
    most = 256
    ids, weights = (x.flatten(0, 1) for x in view.contributors(most))
    assert float(weights[:, -1].max()) == 0, f"a pixel shows more than {most} Gaussians"
    there = weights > 0
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), there.sum(1).cumsum(0)]).int()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        matrix = torch.sparse_csr_tensor(
            starts, ids[there].int(), weights[there], (pixels, len(view)), check_invariants=False
        )
    kept = nbytes(matrix.crow_indices(), matrix.col_indices(), matrix.values())
    contenders["all weights, a sparse matrix"] = (lambda: matrix @ chosen, kept)
    for k in STRONGEST:
        who, share = ids[:, :k].clamp_min(0).int().flatten(), weights[:, :k].clone()

        def draw(who=who, share=share):
            return (chosen[:, 0].index_select(0, who).view_as(share) * share).sum(1)

        contenders[f"the {k} strongest"] = (draw, nbytes(who, share))
    times = milliseconds(*((draw,) for draw, _ in contenders.values()), seconds=seconds, clock=time.process_time)
    for (name, (draw, size)), (ms,) in zip(contenders.items(), times, strict=True):
        mask = draw().view_as(truth)
        flips = ((mask > 0.5) != (truth > 0.5)).float().mean()
        table.add(
            kept=name,
            ms=ms,
            MiB=size / 2**20,
            **{"largest error": float((mask - truth).abs().max()), "pixels that flip": float(flips)},
        )
    table.notes += [
        "half of the Gaussians chosen at random; pixels that flip: the share whose mask is over 0.5 in one way only",
        f"times on the processor, {bridge.threads()} threads on {cores()} cores",
    ]
    return table


@torch.no_grad()
def run() -> list[Table]:
    light, dense = random_scene(50_000, 480, 270, 6.0), random_scene(50_000, 480, 270, 12.0)
    return [
        reuse(light, "sets of channels, 480x270"),
        reuse(dense, "sets of channels, 480x270, dense"),
        masks(light, "masks, 480x270"),
        masks(dense, "masks, 480x270, dense"),
    ]
