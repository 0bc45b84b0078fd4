"""Whether what a scene shows can be followed from one frame to the next."""

from __future__ import annotations

import numpy as np
import torch

from ..scene import Scene
from .flow import Flows

TURN = 25.0  # degrees between two neighbours' cameras: no video turns so far from frame to frame
# Share of the pixels whose flow from frame to frame holds both ways in the middling pair: in video and in pictures
# taken side by side it is 0.7 and more, between photographs from all around some hundredths.
FOLLOWED = 0.25


def jumping(scene: Scene) -> bool:
    """Whether frames with known cameras are too unlike from one to the next to follow anything.

    So are photographs from all around, the views of D-NeRF, and those of a rig taken in turn. The middling pair of
    neighbours counts. Kept with ``scene`` while it lives.
    """
    if not scene.posed or len(scene.train) < 3:
        return False
    if getattr(scene, "_jumping", None) is None:
        scene._jumping = float(turns(scene).median()) > TURN or followed(Flows.of(scene)) < FOLLOWED
    return scene._jumping


def turns(scene: Scene) -> torch.Tensor:
    """Angles [T-1] in degrees between the cameras of neighbouring training frames."""
    rotations = torch.stack([camera.viewmat[:3, :3] for camera in scene.cameras])
    cosine = ((rotations[1:] * rotations[:-1]).sum((-1, -2)) - 1) / 2
    return cosine.clamp(-1, 1).acos().rad2deg()


def followed(flows: Flows) -> float:
    """Share of the pixels whose flow to the next frame is undone by the flow back, in the middling frame."""
    return float(np.median([flows.consistent(index, index + 1).mean() for index in range(len(flows) - 1)]))
