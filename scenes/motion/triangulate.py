"""Inverse depth of the still world from flow between frames with known cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..camera import Camera
from ..scene import Scene
from .flow import Flows, pixel_grid

# Frames that each frame is compared with, before and after it: short gaps are safe, long ones exact.
GAPS = (1, 2, 4, 8, 12)


@dataclass
class Epipolar:
    """How pixels of one view move in S others as their inverse depth changes.

    A pixel p at inverse depth rho is seen by another camera at pi(infinite + rho * towards): the image of
    the plane at infinity, and rho times the epipole (Hartley and Zisserman, 2nd ed., eq. 9.7).

    Attributes:
        infinite: [S, 3, ...] K' R K^-1 p, float32.
        towards: [S, 3, 1...] K' t, with as many axes as ``infinite``.
    """

    infinite: Tensor
    towards: Tensor

    @classmethod
    def between(cls, camera: Camera, others: list[Camera], pixels: Tensor) -> Epipolar:
        """For ``pixels`` [..., 2] of ``camera`` seen by ``others``."""
        relative = torch.stack([other.viewmat.double() for other in others]) @ torch.linalg.inv(camera.viewmat.double())
        K = torch.stack([other.K.double() for other in others])
        warp = K @ relative[:, :3, :3] @ torch.linalg.inv(camera.K.double())
        homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1).double()
        infinite = torch.einsum("sij,...j->si...", warp, homogeneous).float()
        towards = (K @ relative[:, :3, 3:])[..., 0].float()
        return cls(infinite, towards.reshape(len(others), 3, *[1] * (pixels.dim() - 1)))

    def project(self, inverse_depth: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels [S, 2, ...] in the other views at ``inverse_depth`` [...], and the ratio [S, ...] of the depth there
        to the depth here."""
        point = self.infinite + inverse_depth * self.towards
        ratio = point[:, 2]
        return point[:, :2] / ratio.clamp_min(1e-6)[:, None], ratio


@dataclass
class StillFit:
    """The one inverse depth per pixel that explains the flow to several other frames best.

    Attributes:
        inverse_depth: [H, W] float32, at least 0.
        deviation: [H, W] its standard deviation for one pixel of noise in the flow.
        residual: [S, H, W] pixels between the flow and the fit; NaN where the flow is inconsistent.
        others: the S frames it was fitted to.
    """

    inverse_depth: Tensor
    deviation: Tensor
    residual: Tensor
    others: list[int]


def compared(index: int, count: int) -> list[int]:
    """The frames that frame ``index`` of ``count`` is compared with, nearest first."""
    around = [index + sign * gap for gap in GAPS for sign in (1, -1)]
    return [other for other in around if 0 <= other < count]


def still_fits(scene: Scene) -> list[StillFit]:
    """:func:`fit_still` for every training frame of a posed scene, kept with ``scene`` while it lives."""
    fits = getattr(scene, "_still_fits", None)
    if fits is None or len(fits) != len(scene.train):
        flows, cameras = Flows.of(scene), scene.cameras
        fits = [fit_still(flows, cameras, index) for index in range(len(flows))]
        scene._still_fits = fits
    return fits


def fit_still(
    flows: Flows, cameras: list[Camera], index: int, noise: float = 0.5, at: np.ndarray | None = None
) -> StillFit:
    """Fit an inverse depth to each pixel of frame ``index`` from its flow to the frames around it; or only to the
    pixels ``at`` [P, 2] (x, y; integers), the fit then having [P] for [H, W].

    Gauss-Newton with Geman-McClure weights of ``noise`` pixels. Neighbouring frames give a rough depth that no
    wrong match can pull far; frames further apart then refine it, wrong matches being told by their residual.
    """
    others = compared(index, len(flows))
    pixels = torch.from_numpy(pixel_grid(*flows.size))
    flow = torch.from_numpy(np.stack([flows.between(index, other) for other in others]))
    valid = torch.from_numpy(np.stack([flows.consistent(index, other) for other in others])).float()
    if at is not None:
        x, y = at.T
        pixels, flow, valid = pixels[y, x], flow[:, y, x], valid[:, y, x]
    epipolar = Epipolar.between(cameras[index], [cameras[other] for other in others], pixels)
    target = (pixels + flow).movedim(-1, 1).contiguous()
    span = torch.tensor([abs(other - index) for other in others]).reshape(-1, *[1] * pixels[..., 0].dim())

    # u (z + rho t3) = x + rho t1 is linear in rho; divided by the depth ratio, in pixels
    slope = target * epipolar.towards[:, 2:] - epipolar.towards[:, :2]
    value = epipolar.infinite[:, :2] - target * epipolar.infinite[:, 2:]
    slope2, both = slope.square().sum(1), (slope * value).sum(1)
    rho = torch.zeros(valid.shape[1:])
    residual = None
    for reach, width in [(1, None), (2, 16), (4, 8), (8, 4), (99, 2), (99, 1), (99, 1)]:
        weight = valid * (span <= max(reach, int(span.min())))
        if width is not None:
            weight = weight / (1 + (residual / (width * noise)) ** 2) ** 2
        ratio = (epipolar.infinite[:, 2] + rho * epipolar.towards[:, 2]).clamp_min(1e-3)
        weight = weight / ratio.square()
        information = (weight * slope2).sum(0).clamp_min(1e-12)
        rho = ((weight * both).sum(0) / information).clamp_min(0)
        residual = (epipolar.project(rho)[0] - target).square().sum(1).sqrt()
    residual = residual.masked_fill(valid == 0, torch.nan)
    return StillFit(rho, information.rsqrt(), residual, others)
