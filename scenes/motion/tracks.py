"""3D trajectories of what moves, from one moving camera: the first guess of a scene's motion."""

from __future__ import annotations

import numpy as np

from ..scene import Scene
from .flow import Flows
from .follow import follow
from .lifting import LiftedTracks, lift_tracks
from .masks import motion_masks

TRACKS = 480  # at most in a frame, about


def motion_scaffold(scene: Scene) -> LiftedTracks | None:
    """The trajectories of what moves in the training frames; None when nothing does. Kept with ``scene``.

    Frames of one moment, as a rig's are, are no video in which something could be followed: None as well.
    """
    if len(scene.train) < 3 or (np.diff(scene.times) <= 0).any():
        return None
    if not hasattr(scene, "_scaffold"):
        scene._scaffold = _lifted(scene)
    return scene._scaffold


def _lifted(scene: Scene) -> LiftedTracks | None:
    from threadpoolctl import threadpool_limits

    flows, masks = Flows.of(scene), motion_masks(scene).numpy()
    if not masks.any():
        return None
    area = masks.sum((1, 2)).max()
    spacing = max(3.0, float(np.sqrt(area / TRACKS)))
    tracks = follow(flows, masks, spacing)
    if len(tracks) < 2:
        return None
    # Many small systems: the threads of the linear algebra would only wait for one another.
    with threadpool_limits(1, user_api="blas"):
        return lift_tracks(scene, tracks, masks, spacing)
