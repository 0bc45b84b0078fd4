"""Small corrections of camera poses, learned with the field."""

from __future__ import annotations

import torch
from torch import Tensor

from ...scenes import Camera
from ..motion.rotations import from_rotation_vector, to_matrix


def corrected(viewmat: Tensor, delta: Tensor) -> Tensor:
    """``viewmat`` [4, 4] followed by the small camera-frame motion ``delta`` [6] (rotation vector, translation in
    scene units); differentiable in ``delta``."""
    motion = torch.eye(4, dtype=delta.dtype, device=delta.device)
    turn = to_matrix(from_rotation_vector(delta[:3]))
    motion = torch.cat([torch.cat([turn, delta[3:, None]], 1), motion[3:]])
    return motion @ viewmat.to(delta)


def refined(camera: Camera, delta: Tensor) -> Camera:
    """``camera`` with the learned correction applied, without gradient."""
    return Camera(camera.K, corrected(camera.viewmat, delta.detach().cpu()), camera.width, camera.height)
