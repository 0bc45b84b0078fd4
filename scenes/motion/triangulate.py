"""Inverse depth of the static world from flow between frames with known cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..camera import Camera
from .flow import Flows, pixel_grid


@dataclass
class PixelRays:
    """How pixels of one view move in another as their inverse depth changes.

    The pixel p at inverse depth rho is seen by the other camera at pi(``infinite`` + rho * ``towards``): the plane at
    infinity's image plus rho times the epipole (Hartley and Zisserman, 2nd ed., eq. 9.7).

    Attributes:
        infinite: [..., 3] K' R K^-1 p.
        towards: [3] K' t.
    """

    infinite: np.ndarray
    towards: np.ndarray

    @classmethod
    def between(cls, camera: Camera, other: Camera, pixels: np.ndarray) -> PixelRays:
        """For ``pixels`` [..., 2] of ``camera`` seen by ``other``."""
        K, K_other = camera.K.double().numpy(), other.K.double().numpy()
        view, view_other = camera.viewmat.double().numpy(), other.viewmat.double().numpy()
        relative = view_other @ np.linalg.inv(view)
        warp = K_other @ relative[:3, :3] @ np.linalg.inv(K)
        infinite = pixels @ warp[:, :2].T + warp[:, 2]
        return cls(infinite, K_other @ relative[:3, 3])

    def project(self, inverse_depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [..., 2] in the other view at ``inverse_depth`` [...], and the depth ratio there."""
        point = self.infinite + inverse_depth[..., None] * self.towards
        ratio = np.maximum(point[..., 2], 1e-6)
        return point[..., :2] / ratio[..., None], point[..., 2]

    def epipolar_distance(self, targets: np.ndarray) -> np.ndarray:
        """Distance [...] in pixels of ``targets`` [..., 2] from the epipolar lines of their pixels.

        Where the epipolar line is too short to have a direction (hardly any translation), the distance from its
        point at infinity.
        """
        start = self.infinite[..., :2] / self.infinite[..., 2:]
        # the derivative of the projection by inverse depth is along the line
        along = self.towards[:2] - start * self.towards[2]
        length = np.linalg.norm(along, axis=-1, keepdims=True)
        along = along / np.maximum(length, 1e-12)
        offset = targets - start
        across = np.abs(offset[..., 0] * along[..., 1] - offset[..., 1] * along[..., 0])
        return np.where(length[..., 0] > 1e-9, across, np.linalg.norm(offset, axis=-1))


@dataclass
class StaticFit:
    """The one inverse depth per pixel that explains the flow to several other frames best.

    Attributes:
        inverse_depth: [H, W], at least 0.
        information: [H, W] sum of squared pixels per unit of inverse depth over the frames that agree:
            1 / sqrt(information) is the standard deviation of ``inverse_depth`` for one pixel of flow noise.
        residual: [S, H, W] pixels between the flow and the fit, per other frame; NaN where flow is inconsistent.
    """

    inverse_depth: np.ndarray
    information: np.ndarray
    residual: np.ndarray


def static_fit(
    flows: Flows, cameras: list[Camera], index: int, others: list[int], scale: float = 1.0
) -> StaticFit:
    """Fit an inverse depth to each pixel of frame ``index`` from its flow to frames ``others``.

    Gauss-Newton with Geman-McClure weights of width ``scale`` pixels, from the closest of a few starts.
    """
    height, width = flows.size
    pixels = pixel_grid(height, width).astype(np.float64)
    rays = [PixelRays.between(cameras[index], cameras[other], pixels) for other in others]
    targets = np.stack([pixels + flows.between(index, other) for other in others])
    valid = np.stack([flows.consistent(index, other) for other in others])

    rho = np.zeros((height, width))
    weight = valid.astype(np.float64)
    for _ in range(6):
        numerator, information = np.zeros_like(rho), np.full_like(rho, 1e-12)
        for ray, target, w in zip(rays, targets, weight, strict=True):
            # u (z + rho t3) = x + rho t1 is linear in rho; divided by the depth ratio it is in pixels
            _, ratio = ray.project(rho)
            slope = (target * ray.towards[2] - ray.towards[:2]) / np.maximum(ratio, 1e-3)[..., None]
            value = (ray.infinite[..., :2] - target * ray.infinite[..., 2:]) / np.maximum(
                ratio, 1e-3
            )[..., None]
            numerator += w * (slope * value).sum(-1)
            information += w * (slope**2).sum(-1)
        rho = np.maximum(numerator / information, 0)
        residual = np.stack([
            np.linalg.norm(ray.project(rho)[0] - target, axis=-1)
            for ray, target in zip(rays, targets, strict=True)
        ])
        weight = valid / (1 + (residual / scale) ** 2) ** 2
    residual = np.where(valid, residual, np.nan)
    return StaticFit(rho, information, residual)
