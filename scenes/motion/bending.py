"""What moves with a body without being quite rigid with it, as cloth does."""

from __future__ import annotations

import numpy as np

from .belonging import as_points
from .least_motion import least_motion
from .rigid import RigidBody
from .sightings import Sightings

POINT = 0.0104  # error, in widths of the picture, up to which a track is nearly a point of a body
BENDING = 0.03  # by how much such a point leaves the depth that it would have as one, in shares of it
SWINGING = 0.1  # by how much others leave the depth of the body's middle


def bent(body: RigidBody, tracks: np.ndarray, views: Sightings) -> np.ndarray:
    """Positions [K, F, 3] of ``tracks`` [K] in the frames of a body that they go with, without being quite rigid: where
    they are seen, at the depth at which they move least against the body; between, carried by it from where they were
    to where they will be."""
    riding = views.riding(body.frames, body.rotations, body.places)
    places = least_places(body, views)[np.ix_(tracks, body.frames)]
    steps, seen = np.arange(len(body.frames)), riding.visible[np.ix_(tracks, body.frames)]
    for place, known in zip(places, seen, strict=True):
        for axis in range(3):
            place[:, axis] = np.interp(steps, steps[known], place[known, axis]) if known.any() else 0.0
    return np.einsum("fij,kfj->kfi", body.rotations, places) + body.places


def least_places(body: RigidBody, views: Sightings) -> np.ndarray:
    """Positions [N, T, 3] of all tracks in the frame of ``body``: those that move least there, near the depth that they
    would have as points of it, or near that of its middle where they swing too much for that; NaN where not seen."""
    riding = views.riding(body.frames, body.rotations, body.places)
    points, error = as_points(body, views)
    middle = np.broadcast_to(riding.depth(np.zeros((1, *riding.visible.shape[1:], 3))), riding.visible.shape)
    depth = riding.depth(np.broadcast_to(points[:, None], (*riding.visible.shape, 3)))
    near = (error < POINT * 2 * views.Ks[0, 0, 2])[:, None]
    depth = np.where(near, np.clip(depth, 0.5 * middle, 2 * middle), middle)
    deviation = np.where(near, BENDING, SWINGING)
    return least_motion(riding.rays(), riding.eyes, riding.visible, depth, deviation).double().numpy()
