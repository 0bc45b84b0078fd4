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
    """Positions [K, F, 3] of ``tracks`` [K] in the frames of a body that they go with, without being quite rigid.

    Where they are seen, at the depth at which they move least against the body, near what they would have as points of
    it, or near that of its middle where they swing too much for that; between, carried by it from where they were to
    where they will be. In the units of ``views``.
    """
    own = views.only(tracks)
    riding = own.riding(body.frames, body.rotations, body.places)
    points, error = as_points(body, own)
    middle = np.broadcast_to(riding.project(np.zeros((1, 3)))[1], riding.visible.shape)
    near = (error < POINT * 2 * views.Ks[0, 0, 2])[:, None]
    depth = np.where(near, np.clip(riding.project(points)[1], 0.5 * middle, 2 * middle), middle)
    deviation = np.where(near, BENDING, SWINGING)
    places = least_motion(riding.rays(), riding.eyes, riding.visible, riding.times, depth, deviation).double().numpy()
    places, seen = places[:, body.frames], riding.visible[:, body.frames]
    steps = riding.times[body.frames]
    for place, known in zip(places, seen, strict=True):
        for axis in range(3):
            place[:, axis] = np.interp(steps, steps[known], place[known, axis]) if known.any() else 0.0
    return np.einsum("fij,kfj->kfi", body.rotations, places) + body.places
