"""Whether what a scene shows can be followed from one frame to the next."""

from __future__ import annotations

import torch

from ..scene import Scene

TURN = 15.0  # degrees between two neighbouring frames' cameras: no video turns so far from frame to frame


def jumping(scene: Scene) -> bool:
    """Whether the cameras of frames that follow each other look from elsewhere, as those of a rig or of D-NeRF.

    The median angle between neighbours counts. False without known cameras, and for fewer than three frames.
    """
    if not scene.posed or len(scene.train) < 3:
        return False
    turns = torch.stack([camera.viewmat[:3, :3] for camera in scene.cameras])
    cosine = ((turns[1:] * turns[:-1]).sum((-1, -2)) - 1) / 2
    return float(cosine.clamp(-1, 1).acos().median().rad2deg()) > TURN
