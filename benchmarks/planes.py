"""Features of places on planes, against ``grid_sample`` and a product, and against lookups by ``kernels.gather``.

Forward and backward, gradients in places and planes. Places are spread at random over the planes, which is the worst
for caches. Times are the best of several rounds in a warm process on all cores; the contenders take turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from semaflow.kernels import bridge, gather
from semaflow.kernels.planes import sample_planes
from torch import Tensor

from .gather import Contender, copy_speed
from .peers.torch_flow import read_planes
from .table import Table, cores, milliseconds

PLACES = (1 << 14, 1 << 18)
RESOLUTIONS = (128, 512)  # cells along an axis of space on the finest of the levels, each half of the one before
LEVELS, CHANNELS, MOMENTS = 3, 8, 24
IMAGE = 1 << 12  # pixels of the image that a plane covers where gather reads it
PAIRS = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


@dataclass
class Scene:
    """Random places [P, D], and planes of all levels: of space, then of time."""

    places: Tensor
    planes: list[Tensor]


def random_scene(count: int, dims: int, resolution: int) -> Scene:
    """Values around one, so that products stay so."""
    g = torch.Generator().manual_seed(0)
    sides = [resolution >> level for level in range(LEVELS)]
    shapes = [(3, n, n, CHANNELS) for n in sides] + [(3, MOMENTS, n, CHANNELS) for n in sides] * (dims == 4)
    planes = [0.5 + torch.rand(*shape, generator=g) for shape in shapes]
    return Scene(2 * torch.rand(count, dims, generator=g) - 1, planes)


def by_gather(places: Tensor, space: list[Tensor], time: list[Tensor]) -> Tensor:
    """Each plane as a view of its own, which sees the two coordinates."""
    pixels = (places.clamp(-1, 1) + 1) * (0.5 * IMAGE) * (1 - 1e-5)
    features = 1.0
    for planes, pairs in ((space, PAIRS[:3]), (time, PAIRS[3:])):
        if not planes:
            continue
        seen = [torch.stack([pixels[:, a], pixels[:, b], torch.ones_like(pixels[:, a])], -1) for a, b in pairs]
        views = torch.eye(4, device=places.device).expand(len(pairs), 4, 4)
        maps = [plane.permute(0, 3, 1, 2) for plane in planes]
        read, *_ = gather.sample_trajectories(maps, torch.stack(seen, 1), views, views[:, :3, :3], IMAGE, IMAGE)
        for of_plane in read.unbind(1):
            features = features * of_plane
    return features


COLUMNS = ["scene", "who", "forward ms", "backward ms", "both ms", "x torch", "x gather", "MB", "of copy", "difference"]
CONTENDERS = {"semaflow": sample_planes, "semaflow, gather": by_gather, "torch": read_planes}


class Reader(Contender):
    """One reading of the planes, and its backward."""

    def __init__(self, scene: Scene, read, device: str):
        super().__init__([x.to(device, copy=True) for x in (scene.places, *scene.planes)])
        self.read = read

    def sample(self, places, *planes) -> Tensor:
        return self.read(places, list(planes[:LEVELS]), list(planes[LEVELS:]))


def least_bytes(scene: Scene) -> int:
    """Bytes that cannot be avoided: planes, or the four cells of each place, read twice, and their gradient written;
    places read twice, and their gradient written; features written, and their gradient read."""
    count = len(scene.places)
    read = sum(min(x.nbytes, 3 * 4 * count * CHANNELS * x.element_size()) for x in scene.planes)
    features = 4 * count * LEVELS * CHANNELS
    return 2 * read + sum(x.nbytes for x in scene.planes) + 3 * scene.places.nbytes + 2 * features


def contest(title: str, scenes: dict[str, Scene], device: str = "cpu", seconds: float = 1.5) -> Table:
    """All contenders on every scene."""
    table = Table(title, COLUMNS)
    speed = copy_speed(device)
    table.notes += [
        f"{LEVELS} levels of {CHANNELS} channels; {bridge.threads()} threads on {cores()} cores, {device}",
        "x torch, x gather: time of torch, of lookups by gather, by this one's",
        "MB: bytes that any method has to move: planes (or the cells around places) twice and their gradient, places",
        f"twice and theirs, features and theirs; of copy: share of the speed of a copy ({speed / 1e6:.1f} GB/s)",
        "difference: largest difference to torch's features, relative to their largest value",
    ]
    for name, scene in scenes.items():
        contenders = {who: Reader(scene, read, device) for who, read in CONTENDERS.items()}
        times = milliseconds(*((c.forward, c.backward) for c in contenders.values()), seconds=seconds, device=device)
        both = {who: sum(steps) for who, steps in zip(contenders, times, strict=True)}
        truth = contenders["torch"].features.detach()
        least = least_bytes(scene)
        for (who, contender), (forward, backward) in zip(contenders.items(), times, strict=True):
            difference = float((contender.features.detach() - truth).abs().max() / truth.abs().max())
            figures = {"forward ms": forward, "backward ms": backward, "both ms": both[who], "MB": least / 1e6}
            figures |= {"x torch": both["torch"] / both[who], "x gather": both["semaflow, gather"] / both[who]}
            table.add(scene=name, who=who, **figures, **{"of copy": least / speed / both[who]}, difference=difference)
    return table


def tables(device: str = "cpu", seconds: float = 1.5) -> list[Table]:
    """Planes of space, and of space and time, small and large, at few and at many places."""
    return [
        contest(
            f"planes, {count} places",
            {f"D={dims}, {n} cells": random_scene(count, dims, n) for dims in (3, 4) for n in RESOLUTIONS},
            device,
            seconds,
        )
        for count in PLACES
    ]


def run() -> list[Table]:
    torch.set_num_threads(bridge.threads())
    return tables()
