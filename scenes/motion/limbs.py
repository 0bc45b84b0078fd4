"""Limbs: which tracks hang on a body without being rigid with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .belonging import as_points
from .rigid import RigidBody
from .sightings import Sightings

MOSTLY = 0.6  # share of a group's tracks from which on bodies explain it, and the rest are errors
ATTACHED = 0.8  # share of the frames in which a limb must be near the body
RIGID = 0.2  # pixels of median reprojection error up to which a thing counts as rigid
LOOSE = 2.5  # times a body's error from which on a track is not a point of it


def hanging(
    groups: list[np.ndarray], bodies: list[RigidBody], views: Sightings, spread: float
) -> list[tuple[RigidBody, np.ndarray]]:
    """The ``bodies`` that stand for themselves, each with the tracks that may be limbs of it.

    Those are the tracks of what is attached to it and not rigid, as two legs taken for one are; of the ``groups`` that
    it explains more of than others do, but only in part; and, where it is rigid, its own that it does not explain well.

    Args:
        spread: distance in scene units of neighbouring points.
    """
    left, out = sorted(bodies, key=lambda body: -views.visible[body.members].sum()), []
    while left:
        parent = left.pop(0)
        limbs = [body for body in left if body.error > RIGID and attached(body, parent, 2 * spread)]
        left = [body for body in left if not any(body is limb for limb in limbs)]
        error = as_points(parent, views)[1][parent.members]
        fits = (error < max(LOOSE * np.median(error), 0.3)) | (parent.error > RIGID)
        own = replace(parent, members=parent.members[fits], points=parent.points[fits])
        out.append((own, [*(limb.members for limb in limbs), parent.members[~fits]]))
    taken = np.concatenate([body.members for body in bodies]) if bodies else np.zeros(0, int)
    for group in groups:
        share = np.isin(group, taken).mean()
        if 0 < share < MOSTLY:
            most = max(out, key=lambda pair: np.isin(group, np.concatenate([pair[0].members, *pair[1]])).sum())
            most[1].append(np.setdiff1d(group, taken))
            taken = np.concatenate([taken, group])
    return [(body, np.unique(np.concatenate(loose)).astype(int)) for body, loose in out]


def attached(limb: RigidBody, body: RigidBody, reach: float) -> bool:
    """Whether ``limb`` stays within ``reach`` scene units of ``body`` in most of its frames."""
    frames, mine, theirs = np.intersect1d(limb.frames, body.frames, return_indices=True)
    if len(frames) < MOSTLY * len(limb.frames):
        return False
    a, b = limb.positions[:, mine], body.positions[:, theirs]
    gaps = [np.linalg.norm(a[:, None, f] - b[None, :, f], axis=-1).min() for f in range(len(frames))]
    return float(np.mean(np.array(gaps) < reach)) > ATTACHED
