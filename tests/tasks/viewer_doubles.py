"""A field whose Gaussians follow given paths, and a small scene, to test viewer and exporters."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from semaflow.fields.gaussians.state import GaussianState
from semaflow.scenes import Camera, Frame, Scene
from semaflow.tasks.selection import Selection
from torch import Tensor

SH_C0 = 0.28209479177387814


@dataclass
class PathField:
    """Round Gaussians of radius ``size`` that follow ``paths`` [N, T, 3] over ``times`` [T]."""

    paths: Tensor
    times: Tensor
    colors: Tensor
    features: Tensor | None
    size: float = 0.03
    opacities: Tensor | None = None
    kind = "gaussians"

    @property
    def count(self) -> int:
        return len(self.paths)

    def at(self, time: float) -> GaussianState:
        right = torch.searchsorted(self.times, torch.tensor(float(time)))
        right = int(right.clamp(1, len(self.times) - 1))
        left = right - 1
        share = (time - self.times[left]) / (self.times[right] - self.times[left])
        opaque = torch.full((self.count,), 0.9)
        return GaussianState(
            means=torch.lerp(self.paths[:, left], self.paths[:, right], share),
            quats=torch.tensor([1.0, 0, 0, 0]).repeat(self.count, 1),
            scales=torch.full((self.count, 3), self.size),
            opacities=opaque if self.opacities is None else self.opacities,
            sh=((self.colors - 0.5) / SH_C0)[:, None],
            features=self.features,
            time=float(time),
            background=torch.ones(3),
        )

    def positions(self, times: Tensor) -> Tensor:
        return torch.stack([self.at(float(time)).means for time in times], 1)

    def semantics(self) -> Tensor | None:
        return self.features

    def decode(self, codes: Tensor) -> Tensor:
        return codes


@dataclass
class OpenRun:
    """What the viewer and the exporters need of a run folder."""

    folder: Path
    scene: Scene
    field: PathField
    selections: dict[str, Selection] = field(default_factory=dict)

    @property
    def gaussians(self) -> PathField:
        return self.field

    def clip(self, name: str | None = None) -> tuple[PathField, Scene]:
        return self.field, self.scene

    def objects(self) -> list[str]:
        return sorted(self.selections)

    def object(self, name: str) -> Selection:
        return self.selections[name]

    def save_object(self, selection: Selection) -> None:
        self.selections[selection.name] = selection


def sphere(count: int, radius: float) -> Tensor:
    """``count`` points evenly over a sphere (Fibonacci lattice), [count, 3]."""
    k = torch.arange(count) + 0.5
    z = 1 - 2 * k / count
    angle = k * 2.399963
    flat = (1 - z * z).sqrt()
    return radius * torch.stack([flat * angle.cos(), flat * angle.sin(), z], -1)


def two_balls(frames: int = 9, width: int = 64, height: int = 48) -> tuple[Scene, PathField]:
    """A red ball hopping past a blue one at rest on a grey floor; z is up."""
    times = torch.linspace(0, 1, frames)
    height_now = 0.3 + (3 * torch.pi * times).sin().abs()
    hop = torch.stack([2 * times - 1, torch.zeros(frames), height_now], -1)
    red = sphere(60, 0.3)[:, None] + hop
    blue = (sphere(40, 0.25) + torch.tensor([0.2, 0.9, 0.25]))[:, None].expand(-1, frames, -1)
    grid = torch.linspace(-2, 2, 21)
    floor = torch.cartesian_prod(grid, grid, torch.zeros(1))[:, None].expand(-1, frames, -1)
    counts = [len(red), len(blue), len(floor)]
    colors = torch.tensor([[0.85, 0.1, 0.1], [0.1, 0.2, 0.85], [0.5, 0.5, 0.5]])
    body = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    spot = torch.randn(sum(counts), 8, generator=torch.Generator().manual_seed(0))
    features = torch.eye(3, 8)[body] + 0.02 * spot
    model = PathField(torch.cat([red, blue, floor]), times, colors[body], features)

    def camera(time: float) -> Camera:
        eye = (2.4 * time - 1.2, -4.0, 1.4)
        return Camera.look_at(eye, (0, 0, 0.5), width, height)

    def picture() -> Tensor:
        return torch.linspace(0, 1, height)[:, None, None].expand(height, width, 3).clone()

    shots = [
        Frame(f"{i:02d}", camera(float(t)), float(t), image=picture()) for i, t in enumerate(times)
    ]
    return Scene("two balls", shots, train=list(range(frames))), model


def ball_selection(model: PathField, name: str = "red ball", index: int = 0) -> Selection:
    """Everything like the Gaussian ``index``."""
    features = torch.nn.functional.normalize(model.features, dim=-1)
    return Selection.of(name, features @ features[index], 0.7, model.features[index], "by hand")
