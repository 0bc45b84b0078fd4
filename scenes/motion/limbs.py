"""Limbs: which tracks hang on a body without being rigid with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .belonging import as_points
from .rigid import RigidBody
from .sightings import Sightings

OVERLAP = 0.6  # share of a limb's frames that its body must be known in
MOSTLY = 0.6  # share of a group's tracks from which on bodies explain it, and the rest are errors
AROUND = 5  # tracks around one
COHERENT = 0.6  # share of them, on average, that are of the same body
ATTACHED = 0.8  # share of the frames in which a limb must be near the body
RIGID = 0.2  # pixels of median reprojection error up to which a thing counts as rigid
LOOSE = 2.5  # times a body's error from which on a track is not a point of it


def hanging(
    groups: list[np.ndarray], bodies: list[RigidBody], views: Sightings, spread: float
) -> list[tuple[RigidBody, np.ndarray]]:
    """Those of the ``bodies`` that are some, each with the tracks that may be limbs of it.

    A body is a region of the pictures. What is scattered among the points of others is none, as hand and knee that
    happen to swing alike: its tracks are limbs of what it is attached to. So are tracks of the ``groups`` that a body
    explains more of than others do, but only in part; and, where it is rigid, its own that it does not explain well.

    Args:
        groups: indices [K] of tracks that stay beside each other in space.
        spread: distance in scene units of neighbouring points.

    Returns pairs of a body, left with the members it explains, and indices [L] of what hangs on it.
    """
    known = np.unique(np.concatenate([*groups, *(body.members for body in bodies)])) if bodies else np.zeros(0, int)
    whole = [coherence(body, known, views) > COHERENT for body in bodies]
    scattered = [body for body, is_whole in zip(bodies, whole, strict=True) if not is_whole]
    out = []
    for parent in [body for body, is_whole in zip(bodies, whole, strict=True) if is_whole]:
        limbs = [body for body in scattered if attached(body, parent, 2 * spread)]
        scattered = [body for body in scattered if not any(body is limb for limb in limbs)]
        error = as_points(parent, views.only(parent.members))[1]
        fits = (error < max(LOOSE * np.median(error), 0.3)) | (parent.error > RIGID)
        fits |= not fits.any()  # where no error is known
        own = replace(parent, members=parent.members[fits], points=parent.points[fits])
        out.append((own, [*(limb.members for limb in limbs), parent.members[~fits]]))
    if not out:
        return []
    taken = np.concatenate([np.concatenate([body.members, *loose]) for body, loose in out])
    for group in groups:
        share = np.isin(group, taken).mean()
        if 0 < share < MOSTLY:
            most = max(out, key=lambda pair: np.isin(group, np.concatenate([pair[0].members, *pair[1]])).sum())
            most[1].append(np.setdiff1d(group, taken))
            taken = np.concatenate([taken, group])
    return [(body, np.unique(np.concatenate(loose)).astype(int)) for body, loose in out]


def coherence(body: RigidBody, tracks: np.ndarray, views: Sightings) -> float:
    """How many of the nearest of ``tracks`` [K] in the picture are of the body too, 0..1, on average over its own."""
    shares, mine = [], np.isin(tracks, body.members)
    for frame in body.frames:
        seen = views.visible[tracks, frame]
        own = seen & mine
        if not own.any() or seen.sum() <= AROUND:
            continue
        gaps = np.linalg.norm(
            views.pixels[tracks[own], frame][:, None] - views.pixels[tracks[seen], frame][None], axis=-1
        )
        shares.append(mine[seen][np.argsort(gaps, 1)[:, 1 : 1 + AROUND]].mean(1))
    return float(np.concatenate(shares).mean()) if shares else 1.0


def attached(limb: RigidBody, body: RigidBody, reach: float) -> bool:
    """Whether ``limb`` stays within ``reach`` scene units of ``body`` in most of its frames."""
    frames, mine, theirs = np.intersect1d(limb.frames, body.frames, return_indices=True)
    if len(frames) < OVERLAP * len(limb.frames):
        return False
    a, b = limb.positions[:, mine], body.positions[:, theirs]
    gaps = [np.linalg.norm(a[:, None, f] - b[None, :, f], axis=-1).min() for f in range(len(frames))]
    return float(np.mean(np.array(gaps) < reach)) > ATTACHED
