"""Small corrections of camera poses, learned with the field."""

from __future__ import annotations

import numpy as np
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


def followed(before: list[Camera], after: list[Camera], times: list[float], camera: Camera, time: float) -> Camera:
    """A ``camera`` that took no part in the training, moved as those that did were around its ``time``.

    Poses and field are learned up to a common motion, which drifts: where all cameras turned by a pixel or two, one
    that stayed behind would see the whole world displaced. Between the two frames beside it the motion through the
    world is interpolated linearly.

    Args:
        before, after: the T training cameras and the same refined, at ascending ``times`` [T].
    """
    from scipy.spatial.transform import Rotation

    motions = torch.stack([torch.linalg.inv(a.viewmat) @ b.viewmat for a, b in zip(before, after, strict=True)]).numpy()
    turns = Rotation.from_matrix(motions[:, :3, :3]).as_rotvec()
    here = [np.interp(time, times, values) for values in np.concatenate([turns, motions[:, :3, 3]], 1).T]
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = Rotation.from_rotvec(here[:3]).as_matrix(), here[3:]
    viewmat = camera.viewmat @ torch.from_numpy(motion).to(camera.viewmat)
    return Camera(camera.K, viewmat, camera.width, camera.height)
