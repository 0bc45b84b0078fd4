"""The motion of a rigid thing from its 2D tracks: structure from motion of one body, up to its distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST = 4  # tracks needed to see how a body turns between two frames


@dataclass
class RigidBody:
    """A body and its poses.

    Attributes:
        members: [K] which tracks are its points.
        frames: [F] the frames in which its pose is known, consecutive.
        positions: [K, F, 3] where its points are, seen or not.
        error: median reprojection error in pixels.
    """

    members: np.ndarray
    frames: np.ndarray
    positions: np.ndarray
    error: float


def rigid_body(members, guess, pixels, visible, viewmats, Ks, smoothness: float = 80.0) -> RigidBody | None:
    """The rigid motion that explains the tracks ``members`` [K] of one segment best, or None.

    Poses are chained from the guessed positions (Kabsch), then points and poses are refined together on the
    reprojection error (bundle adjustment, soft L1), with a weak pull to uniform motion of the body's centre, which also
    decides the distance that a single camera leaves open.

    Args:
        guess: [N, T, 3] positions, NaN where unseen.
        pixels: [N, T, 2]; visible: [N, T]; viewmats: [T, 4, 4]; Ks: [T, 3, 3].
        smoothness: pixels of error that one scene unit of second difference weighs.
    """
    chained = _chain(members, guess, visible)
    if chained is None:
        return None
    members, frames, points, R, t = chained
    return _adjust(members, frames, points, R, t, pixels, visible, viewmats, Ks, smoothness)


def _chain(members, guess, visible):
    seen = visible[members]
    X = np.nan_to_num(guess[members])
    steps = seen.shape[1]
    enough = np.flatnonzero(seen.sum(0) >= LEAST)
    if len(enough) < 4:
        return None
    start = enough[seen[:, enough].sum(0).argmax()]
    R, t = np.tile(np.eye(3), (steps, 1, 1)), np.zeros((steps, 3))
    known = np.zeros(steps, bool)
    known[start] = True
    points = np.full((len(members), 3), np.nan)
    points[seen[:, start]] = X[seen[:, start], start]
    for order in (range(start + 1, steps), range(start - 1, -1, -1)):
        for f in order:
            both = seen[:, f] & np.isfinite(points[:, 0])
            if both.sum() < LEAST:
                break
            R[f], t[f] = _kabsch(points[both], X[both, f])
            known[f] = True
            new = seen[:, f] & ~np.isfinite(points[:, 0])
            points[new] = (X[new, f] - t[f]) @ R[f]
    frames = np.flatnonzero(known)
    keep = np.isfinite(points[:, 0]) & (seen[:, frames].sum(1) >= LEAST)
    if keep.sum() < LEAST + 1 or len(frames) < 4:
        return None
    seen, X, points = seen[keep], X[keep], points[keep]
    for _ in range(15):  # poses and points in turn
        total = np.zeros_like(points)
        for f in frames:
            k = seen[:, f]
            total[k] += (X[k, f] - t[f]) @ R[f]
        points = total / seen[:, frames].sum(1)[:, None]
        for f in frames:
            k = seen[:, f]
            if k.sum() >= LEAST:
                R[f], t[f] = _kabsch(points[k], X[k, f])
    return members[keep], frames, points, R[frames], t[frames]


def _adjust(members, frames, points, R, t, pixels, visible, viewmats, Ks, smoothness):
    from scipy.optimize import least_squares

    center = points.mean(0)
    points, place = points - center, R @ center + t
    k, f = len(points), len(frames)
    at, who = np.nonzero(visible[members][:, frames].T)
    target = pixels[members][who, frames[at]].astype(float)
    V, K = viewmats[frames][at], Ks[frames][at]

    def parts(x):
        return x[: 3 * k].reshape(-1, 3), _rodrigues(x[3 * k : 3 * (k + f)].reshape(-1, 3)) @ R, x[3 * (k + f) :]

    def residuals(x):
        b, turn, c = parts(x)
        c = c.reshape(-1, 3)
        world = np.einsum("kij,kj->ki", turn[at], b[who]) + c[at]
        local = np.einsum("kij,kj->ki", V[:, :3, :3], world) + V[:, :3, 3]
        image = np.einsum("kij,kj->ki", K, local / np.maximum(local[:, 2:], 0.02))
        bend = (c[2:] - 2 * c[1:-1] + c[:-2]) * smoothness
        step = (c[1:] - c[:-1]) * (0.03 * smoothness)
        return np.concatenate([(image[:, :2] - target).ravel(), bend.ravel(), step.ravel()])

    x = np.concatenate([points.ravel(), np.zeros(3 * f), place.ravel()])
    solved = least_squares(
        residuals, x, jac_sparsity=_sparsity(k, f, at, who), loss="soft_l1", x_scale="jac", max_nfev=25, ftol=1e-4
    )
    b, turn, c = parts(solved.x)
    positions = np.einsum("fij,kj->kfi", turn, b) + c.reshape(-1, 3)
    error = np.median(np.abs(residuals(solved.x)[: 2 * len(at)]))
    return RigidBody(members, frames, positions, float(error))


def _sparsity(k: int, f: int, at: np.ndarray, who: np.ndarray):
    """Which unknown (points, rotations, places) enters which residual."""
    from scipy.sparse import lil_matrix

    seen = 2 * len(at)
    pattern = lil_matrix((seen + 3 * max(f - 2, 0) + 3 * (f - 1), 3 * k + 6 * f), dtype=np.int8)
    places = 3 * (k + f)
    for axis in range(3):
        for row in (np.arange(0, seen, 2), np.arange(1, seen, 2)):
            pattern[row, 3 * who + axis] = 1
            pattern[row, 3 * (k + at) + axis] = 1
            pattern[row, places + 3 * at + axis] = 1
        bend = np.arange(f - 2)
        step = np.arange(f - 1)
        for shift in range(3):
            pattern[seen + 3 * bend + axis, places + 3 * (bend + shift) + axis] = 1
        for shift in range(2):
            pattern[seen + 3 * max(f - 2, 0) + 3 * step + axis, places + 3 * (step + shift) + axis] = 1
    return pattern


def _kabsch(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R, t with R a + t nearest to b, for points [K, 3]."""
    ca, cb = a.mean(0), b.mean(0)
    U, _, Vt = np.linalg.svd((a - ca).T @ (b - cb))
    sign = np.sign(np.linalg.det(Vt.T @ U.T))
    R = Vt.T @ np.diag([1, 1, sign]) @ U.T
    return R, cb - R @ ca


def _rodrigues(v: np.ndarray) -> np.ndarray:
    """Rotation matrices [F, 3, 3] of rotation vectors [F, 3]."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(v).as_matrix()
