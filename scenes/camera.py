"""Pinhole cameras in the OpenCV convention: x right, y down, z forward, first pixel centred at (0.5, 0.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .files import BadInput


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Args:
        K: intrinsics in pixels, float32 [3, 3].
        viewmat: world-to-camera transform, float32 [4, 4], rigid.
        width, height: image size in pixels.
    """

    K: Tensor
    viewmat: Tensor
    width: int
    height: int

    @classmethod
    def checked(cls, K, viewmat, width: int, height: int, source: str) -> Camera:
        """A camera from numbers of a user's file; :class:`BadInput` naming ``source`` if they are unusable."""
        K = torch.as_tensor(K, dtype=torch.float64)
        viewmat = torch.as_tensor(viewmat, dtype=torch.float64)
        if K.shape != (3, 3) or viewmat.shape != (4, 4):
            raise BadInput(f"{source}: expected K 3x3 and viewmat 4x4, got {tuple(K.shape)}, {tuple(viewmat.shape)}")
        if not (torch.isfinite(K).all() and torch.isfinite(viewmat).all()):
            raise BadInput(f"{source}: camera matrix holds NaN or infinity")
        if K[0, 0] <= 0 or K[1, 1] <= 0:
            raise BadInput(f"{source}: focal lengths must be positive, got {K[0, 0]:g}, {K[1, 1]:g}")
        if width < 1 or height < 1:
            raise BadInput(f"{source}: image size must be positive, got {width}x{height}")
        rotation = viewmat[:3, :3]
        off = (rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max()
        bottom = (viewmat[3] - torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)).abs().max()
        if off > 1e-3 or bottom > 1e-6 or torch.det(rotation) <= 0:
            raise BadInput(f"{source}: camera matrix is not a rigid transform (rotation off by {off:.2g})")
        return cls(K.float(), viewmat.float(), int(width), int(height))

    @classmethod
    def look_at(cls, eye, target, width: int, height: int, fov: float = 50.0, up=(0.0, 0.0, 1.0)) -> Camera:
        """A camera at ``eye`` looking at ``target``; ``fov`` is the horizontal field of view in degrees."""
        eye, target, up = (torch.as_tensor(v, dtype=torch.float64) for v in (eye, target, up))
        forward = torch.nn.functional.normalize(target - eye, dim=0)
        right = torch.nn.functional.normalize(torch.linalg.cross(forward, up), dim=0)
        down = torch.linalg.cross(forward, right)
        viewmat = torch.eye(4, dtype=torch.float64)
        viewmat[:3, :3] = torch.stack([right, down, forward])
        viewmat[:3, 3] = -viewmat[:3, :3] @ eye
        focal = 0.5 * width / math.tan(math.radians(fov) / 2)
        K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        return cls(K.float(), viewmat.float(), width, height)

    @property
    def center(self) -> Tensor:
        """Camera centre in the world, [3]."""
        return -self.viewmat[:3, :3].T @ self.viewmat[:3, 3]

    @property
    def forward(self) -> Tensor:
        """Unit viewing direction in the world, [3]."""
        return self.viewmat[2, :3]

    def resized(self, width: int, height: int) -> Camera:
        """The same view sampled on another pixel grid."""
        scale = torch.tensor([[width / self.width], [height / self.height], [1.0]], dtype=self.K.dtype)
        return replace(self, K=self.K * scale.to(self.K.device), width=int(width), height=int(height))

    def to(self, device) -> Camera:
        """The same camera with its matrices on ``device``."""
        return replace(self, K=self.K.to(device), viewmat=self.viewmat.to(device))

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """World points [..., 3] to pixels [..., 2] and z-depth [...] (pixels are meaningless where depth <= 0)."""
        local = points @ self.viewmat[:3, :3].T + self.viewmat[:3, 3]
        depth = local[..., 2]
        image = local @ self.K.T
        safe = torch.where(depth.abs() < 1e-12, torch.full_like(depth, 1e-12), depth)
        return image[..., :2] / safe[..., None], depth

    def unproject(self, pixels: Tensor, depth: Tensor) -> Tensor:
        """Pixels [..., 2] at z-depth [...] to world points [..., 3]."""
        ones = torch.ones_like(pixels[..., :1])
        local = torch.cat([pixels, ones], -1) @ torch.linalg.inv(self.K).T * depth[..., None]
        return (local - self.viewmat[:3, 3]) @ self.viewmat[:3, :3]

    def rays(self) -> tuple[Tensor, Tensor]:
        """Ray origin [3] and, per pixel centre, direction [H, W, 3] in the world with unit z in the camera."""
        y, x = torch.meshgrid(
            torch.arange(self.height) + 0.5, torch.arange(self.width) + 0.5, indexing="ij"
        )
        pixels = torch.stack([x, y], -1).to(self.K)
        return self.center, self.unproject(pixels, torch.ones_like(pixels[..., 0])) - self.center
