"""Gaussians posed at one time: what a camera renders, and what maps are lifted onto."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...kernels import splat
from ...scenes import BadInput, Camera
from ..rendering import Rendering


@dataclass(frozen=True)
class GaussianState:
    """Posed Gaussians.

    Attributes:
        means [N, 3], quats [N, 4] (wxyz), scales [N, 3] (linear), opacities [N] (0..1).
        sh [N, K, 3]: spherical harmonics coefficients of the colour, K = (degree + 1)^2.
        features [N, D] or None.
        time: 0..1.
        background: colour behind everything, [3].
        classes [N, C]: shares of the classes, or None.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    sh: Tensor
    features: Tensor | None
    time: float
    background: Tensor
    classes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.means)

    @property
    def degree(self) -> int:
        """Degree of the spherical harmonics."""
        return int(self.sh.shape[1] ** 0.5 + 0.5) - 1

    @property
    def geometry(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means, quaternions, scales and opacities, in the order the splatting kernels take them."""
        return self.means, self.quats, self.scales, self.opacities

    def subset(self, keep: Tensor) -> GaussianState:
        """The Gaussians that the boolean mask or index tensor ``keep`` names."""
        features, classes = (None if part is None else part[keep] for part in (self.features, self.classes))
        return replace(
            self, means=self.means[keep], quats=self.quats[keep], scales=self.scales[keep],
            opacities=self.opacities[keep], sh=self.sh[keep], features=features, classes=classes,
        )

    def render(self, camera: Camera, channels=("color",), values: Tensor | None = None) -> Rendering:
        """What ``camera`` sees. ``channels`` among color, depth, features, logits; ``values`` [N, C] are composited
        too.

        Raises BadInput: logits of Gaussians without classes.
        """
        if "logits" in channels and self.classes is None:
            raise BadInput("logits: the field knows no classes; fit it to a scene with labels")
        own = {"features": self.features, "logits": self.classes}
        parts = {name: part if name in channels else None for name, part in own.items()} | {"values": values}
        widths = {name: part.shape[-1] for name, part in parts.items() if part is not None}
        further = torch.cat([parts[name] for name in widths], -1) if widths else None
        colors, options = further, {}
        if "color" in channels:
            colors = self.sh
            options = {"sh_degree": self.degree, "values": further, "backgrounds": self.background[None]}
            widths = {"color": 3} | widths
        mode = "RGB"
        if "depth" in channels:
            mode = "RGB+ED" if widths else "ED"
            widths = widths | {"depth": 1}
        image, alpha, _ = splat.rasterization(
            *self.geometry, self.opacities[:, None] if colors is None else colors,  # alpha is drawn in any case
            camera.viewmat[None].to(self.means), camera.K[None].to(self.means), camera.width, camera.height,
            packed=False, render_mode=mode, **options,
        )
        layers = {}
        if widths:
            layers = dict(zip(widths, image.squeeze(0).split(list(widths.values()), -1), strict=True))
        if "depth" in layers:
            layers["depth"] = layers["depth"].squeeze(-1)
        return Rendering(camera, self.time, alpha.squeeze((0, -1)), **layers)

    def contributors(self, camera: Camera, k: int = 1) -> tuple[Tensor, Tensor]:
        """The ``k`` strongest Gaussians of each pixel: ids [H, W, k] (-1 for none) and weights T*alpha."""
        ids, weights = splat.contributors(
            *self.geometry, camera.viewmat[None].to(self.means), camera.K[None].to(self.means),
            camera.width, camera.height, k=k,
        )
        return ids[0], weights[0]

    def uplift(self, image: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
        """Weighted sums of ``image`` [H, W, D] over the pixels of each Gaussian, and the weights: [N, D], [N]."""
        return splat.uplift(
            *self.geometry, image[None], camera.viewmat[None].to(self.means), camera.K[None].to(self.means),
            normalize=False,
        )

    def cell_weights(self, camera: Camera) -> tuple[Tensor, Tensor, Tensor]:
        """How much of each cell of ``splat.CELL`` pixels along its edge the Gaussians cover.

        Cells [E], ascending row by row, Gaussians [E], and their mean weights T alpha over the cell [E], 0..1; pairs
        without weight are left out.
        """
        return splat.cell_weights(
            *self.geometry, camera.viewmat[None].to(self.means), camera.K[None].to(self.means), camera.width,
            camera.height,
        )
