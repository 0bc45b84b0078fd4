"""Random Gaussian scenes for tests of the splatting kernels, and the devices to run them on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@dataclass(frozen=True)
class Gaussians:
    """Inputs of ``rasterization``, all float32 values whatever the dtype, so that both precisions
    see the same scene."""

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor  # [N, D] or coefficients [N, K, 3]
    viewmats: Tensor
    Ks: Tensor
    backgrounds: Tensor  # [C, D]
    width: int
    height: int

    NAMES = ("means", "quats", "scales", "opacities", "colors", "viewmats", "Ks", "backgrounds")
    PRIMITIVES = ("means", "quats", "scales", "opacities", "colors")
    DIFFERENTIABLE = ("means", "quats", "scales", "opacities", "colors", "viewmats", "backgrounds")

    def to(self, *args) -> Gaussians:
        """The same scene in another dtype or on another device."""
        return replace(
            self, **{name: getattr(self, name).detach().to(*args) for name in self.NAMES}
        )

    def leaves(self, *names: str) -> Gaussians:
        """A copy whose tensors of these names require gradients."""
        copies = {name: getattr(self, name).detach().clone() for name in self.NAMES}
        for name in names or self.DIFFERENTIABLE:
            copies[name].requires_grad_(True)
        return replace(self, **copies)

    def subset(self, index) -> Gaussians:
        """Only the Gaussians that ``index`` selects."""
        return replace(self, **{name: getattr(self, name)[index] for name in self.PRIMITIVES})

    @property
    def geometry(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.means, self.quats, self.scales, self.opacities

    @property
    def views(self) -> tuple[Tensor, Tensor, int, int]:
        return self.viewmats, self.Ks, self.width, self.height

    def render(self, rasterization, **options):
        """``rasterization`` of this scene, over its backgrounds unless told otherwise."""
        options = {"backgrounds": self.backgrounds, **options}
        return rasterization(*self.geometry, self.colors, *self.views, **options)


def random_gaussians(
    seed: int,
    count: int = 80,
    cameras: int = 2,
    width: int = 37,
    height: int = 21,
    channels: int = 3,
    sh_degree: int | None = None,
    spread: float = 1.0,
) -> Gaussians:
    """Float64 scene in front of ``cameras`` slightly turned cameras; some Gaussians lie outside the
    image or overlap into opaqueness. Larger ``spread`` puts more of them beside the view."""
    g = torch.Generator().manual_seed(seed)

    def uniform(*shape, low=0.0, high=1.0):
        return low + (high - low) * torch.rand(*shape, generator=g)

    depth = uniform(count, low=2.0, high=6.0)
    means = torch.stack(
        [*(depth * uniform(count, low=-0.75, high=0.75) * spread for _ in range(2)), depth], -1
    )
    means[:, 1] *= height / width
    if sh_degree is None:
        colors = uniform(count, channels, low=-0.2)
    else:
        colors = 0.4 * torch.randn(count, (sh_degree + 1) ** 2, 3, generator=g)
        channels = 3
    viewmats = torch.eye(4).repeat(cameras, 1, 1)
    angles = 0.15 * torch.randn(cameras, 3, generator=g)
    skew = torch.zeros(cameras, 3, 3)
    skew[:, 0, 1], skew[:, 0, 2], skew[:, 1, 2] = angles.unbind(-1)
    viewmats[:, :3, :3] = torch.linalg.matrix_exp((skew - skew.mT).double()).float()
    viewmats[:, :3, 3] = 0.2 * torch.randn(cameras, 3, generator=g)
    Ks = torch.zeros(cameras, 3, 3)
    Ks[:, 0, 0] = width * uniform(cameras, low=0.7, high=1.0)
    Ks[:, 1, 1] = Ks[:, 0, 0] * uniform(cameras, low=0.9, high=1.1)
    Ks[:, 0, 2] = width * uniform(cameras, low=0.4, high=0.6)
    Ks[:, 1, 2] = height * uniform(cameras, low=0.4, high=0.6)
    Ks[:, 2, 2] = 1.0
    scene = Gaussians(
        means=means,
        quats=torch.randn(count, 4, generator=g),
        scales=torch.exp(uniform(count, 3, low=-3.0, high=-0.4)),
        opacities=uniform(count, low=0.05, high=0.98),
        colors=colors,
        viewmats=viewmats,
        Ks=Ks,
        backgrounds=uniform(cameras, channels),
        width=width,
        height=height,
    )
    return scene.to(torch.float64)
