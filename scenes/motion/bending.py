"""What moves with a body without being quite rigid with it, as limbs and cloth do."""

from __future__ import annotations

import numpy as np

from .belonging import as_points
from .rigid import RigidBody
from .sightings import Sightings
from .swinging import swinging

SWING = 0.5  # of what is loose about its own place, in radii of the body
LOOSE = 3.0  # times the error that a track has as a point of a stiff body it may swing
DRIFT = 1.0  # pixels that a track leaves the point it follows
BESIDE = 0.25  # distance, in radii of the body, over which things move alike
CARRIERS = 8  # tracks and points of the body that carry one along
RESTING = 0.3  # weight of no motion at all, where that of one beside it is 1


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


def carried(places: np.ndarray, seen: np.ndarray, times: np.ndarray, still: np.ndarray, reach: float) -> np.ndarray:
    """Trajectories without gaps: ``places`` [K, F, 3] where they are ``seen`` [K, F], and between moved from frame to
    frame as those within ``reach`` are that are seen in both, or rest: the ``still`` points [P, 3] and a track alone.

    In a gap, onwards from where it was and back from where it will be, the nearer in ``times`` [F] counting more.
    """
    ahead = _swept(places, seen, still, reach)
    back = _swept(places[:, ::-1], seen[:, ::-1], still, reach)[:, ::-1]
    last = np.maximum.accumulate(np.where(seen, times, -np.inf), 1)
    following = np.minimum.accumulate(np.where(seen, times, np.inf)[:, ::-1], 1)[:, ::-1]
    with np.errstate(invalid="ignore"):
        share = np.where(np.isinf(following), 1.0, (following - times) / (following - last))
    share = np.where(seen, 1.0, np.where(np.isinf(last), 0.0, share))[..., None]
    return share * ahead + (1 - share) * back


def _swept(places: np.ndarray, seen: np.ndarray, still: np.ndarray, reach: float) -> np.ndarray:
    """``places`` where ``seen``, and after that moved on by what is around; the middle of the body before."""
    out, known = np.where(seen[..., None], places, 0.0), seen[:, 0].copy()
    for f in range(1, seen.shape[1]):
        both, lost = seen[:, f - 1] & seen[:, f], known & ~seen[:, f]
        around = np.concatenate([out[both, f - 1], still])
        moves = np.concatenate([out[both, f] - out[both, f - 1], np.zeros_like(still)])
        gaps = np.linalg.norm(out[lost, f - 1][:, None] - around, axis=-1)
        nearest = np.argsort(gaps, 1)[:, :CARRIERS]
        weight = np.exp(-0.5 * (np.take_along_axis(gaps, nearest, 1) / reach) ** 2)
        move = (weight[..., None] * moves[nearest]).sum(1) / (weight.sum(1)[:, None] + RESTING)
        out[lost, f] = out[lost, f - 1] + move
        known |= seen[:, f]
    return out
