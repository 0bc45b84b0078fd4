"""What moves with a body without being quite rigid with it, as limbs and cloth do."""

from __future__ import annotations

import numpy as np

from .belonging import as_points
from .carrying import carried
from .rigid import RigidBody
from .sightings import Sightings
from .swinging import swinging

SWING = 0.5  # of what is loose about its own place, in radii of the body
LOOSE = 3.0  # times the error that a track has as a point of a stiff body it may swing
DRIFT = 1.0  # pixels that a track leaves the point it follows
BESIDE = 0.25  # distance, in radii of the body, over which things move alike


def bent(body: RigidBody, tracks: np.ndarray, views: Sightings, still: np.ndarray) -> np.ndarray:
    """Positions [K, F, 3] of ``tracks`` [K] in the frames of a body that they go with, without being quite rigid.

    Where they are seen, at the depth at which they swing least (:mod:`.swinging`); where not, carried along by those
    beside them that are, and by the ``still`` points [P, 3] of the body where it is stiff. In the units of ``views``.
    """
    own = views.only(tracks)
    riding = own.riding(body.frames, body.rotations, body.places)
    radius = float(np.sqrt(np.square(body.points).sum(1).mean()))
    middle = np.maximum(riding.project(np.zeros((1, 3)))[1][0], 1e-3)
    rays = riding.rays()
    pixel = float(np.median(middle[body.frames])) / views.Ks[0, 0, 0]
    swing = np.full(len(tracks), SWING * radius)
    if len(still):
        swing = np.minimum(swing, LOOSE * pixel * as_points(body, own)[1])
    depth = swinging(rays, riding.eyes, riding.visible, riding.times, middle, radius, swing, DRIFT * pixel)
    places = (riding.eyes + rays * depth[..., None])[:, body.frames]
    places = carried(places, riding.visible[:, body.frames], riding.times[body.frames], still, BESIDE * radius)
    return np.einsum("fij,kfj->kfi", body.rotations, places) + body.places
