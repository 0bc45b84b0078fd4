"""Depth along 2D tracks, from the distances that neighbouring points of a thing keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
from scipy.sparse.linalg import cg

from ..camera import Camera
from .follow import Tracks2D

LENGTH_NOISE = 0.5  # pixels by which a distance may change
ACCELERATION_NOISE = 0.3  # pixels per frame^2
VERTICAL_NOISE = 7.0  # times as much along scene.up: what falls or bounces is accelerated
PRIOR_NOISE = 3.0  # of log depth: nearly free
ROBUST = 3.0  # noises at which a distance stops to count (Geman-McClure)


@dataclass
class Rays:
    """Where the observations of tracks may lie.

    Attributes:
        cameras: of the T frames.
        centers: [T, 3] camera centres.
        directions: [N, T, 3] of unit depth, NaN where not seen.
        focal: focal length in pixels.
        up: [3] unit, upwards.
    """

    cameras: list[Camera]
    centers: np.ndarray
    directions: np.ndarray
    focal: float
    up: np.ndarray

    @classmethod
    def of(cls, tracks: Tracks2D, cameras: list[Camera], up: tuple[float, float, float]) -> Rays:
        """The rays of ``tracks`` in the world of ``cameras``, one per frame."""
        centers = torch.stack([camera.center for camera in cameras]).double().numpy()
        up = np.asarray(up, float) / np.linalg.norm(up)
        rays = cls(cameras, centers, np.full((*tracks.visible.shape, 3), np.nan), float(cameras[0].K[0, 0]), up)
        for t in range(len(cameras)):
            seen = tracks.visible[:, t]
            rays.directions[seen, t] = rays.through(t, tracks.pixels[seen, t])
        return rays

    def through(self, time: int, pixels: np.ndarray) -> np.ndarray:
        """Directions [..., 3] of unit depth through ``pixels`` [..., 2] of a frame."""
        camera, pixels = self.cameras[time], torch.from_numpy(pixels).float()
        return (camera.unproject(pixels, torch.ones(pixels.shape[:-1])) - camera.center).double().numpy()

    def positions(self, depth: np.ndarray) -> np.ndarray:
        """Points [N, T, 3] at z-depth ``depth`` [N, T]."""
        return self.centers + depth[..., None] * self.directions

    @property
    def damping(self) -> np.ndarray:
        """[3, 3]: weighs vertical accelerations less."""
        return np.eye(3) - (1 - 1 / VERTICAL_NOISE) * np.outer(self.up, self.up)


def neighbours(distance: np.ndarray, label: np.ndarray, near: int = 8, far: int = 8, pool: int = 48) -> np.ndarray:
    """Pairs [E, 2] of tracks of one group: each with its ``near`` nearest and ``far`` random ones of the ``pool``
    nearest, by ``distance`` [N, N] in the image. The far ones make a body stiff as a whole."""
    generator = np.random.default_rng(0)
    within = np.where(label[:, None] == label[None], distance, np.inf)
    pairs = set()
    for n, row in enumerate(within):
        order = np.argsort(row, kind="stable")[:pool]
        order = order[np.isfinite(row[order])]
        rest = order[near:]
        others = [*order[:near], *generator.choice(rest, min(far, len(rest)), replace=False)]
        pairs.update((min(n, m), max(n, m)) for m in others)
    return np.array(sorted(pairs), int).reshape(-1, 2)


def solve_depth(
    tracks: Tracks2D, rays: Rays, pairs: np.ndarray, depth: np.ndarray, iterations: int, anneal: bool
) -> np.ndarray:
    """Depth [N, T] along the rays of ``tracks`` from a first guess ``depth`` [N, T].

    Minimises, over log depth, what the distances of ``pairs`` change over time (their lengths are unknown, each its
    robust mean), accelerations in the world, and weakly the departure from the guess. Residuals are in pixels at the
    depth of the points. Levenberg-Marquardt; normal equations by conjugate gradients; with ``anneal`` the robust
    width starts eight times as wide (graduated non-convexity). The overall scale of a group, to which distances are
    blind, hardly changes: see :mod:`.scale`.
    """
    problem = _Problem(tracks, rays, pairs, np.log(depth))
    state = problem.start.copy()
    weight = np.ones(len(problem.edge))
    for iteration in range(iterations):
        width = ROBUST * (max(1.0, 8 * 0.7**iteration) if anneal else 1.0)
        matrix, residual, weight = problem.linearised(state, weight, width)
        normal = matrix.T @ matrix
        diagonal = normal.diagonal()
        normal = normal + sparse.diags(1e-2 * diagonal + 1e-6)
        inverse = sparse.diags(1 / (1.01 * diagonal + 1e-6))
        step, _ = cg(normal, -matrix.T @ residual, M=inverse, maxiter=60, rtol=1e-4)
        state = state + np.clip(step[: len(state)], -0.15, 0.15)
    out = np.full(tracks.visible.shape, np.nan)
    out[tracks.visible] = np.exp(state)
    return out


class _Problem:
    """Residuals and Jacobian of :func:`solve_depth`; unknowns are the log depths of the observations, then the
    logs of the pairs' lengths."""

    def __init__(self, tracks: Tracks2D, rays: Rays, pairs: np.ndarray, guess: np.ndarray):
        visible = tracks.visible
        track, time = np.nonzero(visible)
        index = np.full(visible.shape, -1)
        index[visible] = np.arange(len(track))
        self.start, self.count = guess[visible], len(pairs)
        self.center, self.ray = rays.centers[time], rays.directions[track, time]
        self.focal, self.damping = rays.focal, rays.damping
        together = visible[pairs[:, 0]] & visible[pairs[:, 1]]
        self.edge, when = np.nonzero(together)
        self.first = index[pairs[self.edge, 0], when]
        self.second = index[pairs[self.edge, 1], when]
        self.triples = []
        for gap in (1, 3):
            run = visible[:, 2 * gap :] & visible[:, gap:-gap] & visible[:, : -2 * gap]
            n, t = np.nonzero(run)
            self.triples.append((gap, index[n, t], index[n, t + gap], index[n, t + 2 * gap]))

    def linearised(self, state, weight, width):
        """Jacobian, residuals and the new robust weights of the distances at ``state``."""
        depth = np.exp(state)
        point = self.center + depth[:, None] * self.ray
        distances, weight = self._distances(depth, point, weight, width)
        row, parts, residual = 0, [], []
        for columns, values, rest in [distances, *self._accelerations(depth, point)]:
            rows = row + np.arange(len(rest))
            parts += [(value, (rows, column)) for column, value in zip(columns, values, strict=True)]
            residual.append(rest)
            row += len(rest)
        rows = row + np.arange(len(state))
        parts.append((np.full(len(state), 1 / PRIOR_NOISE), (rows, np.arange(len(state)))))
        residual.append((state - self.start) / PRIOR_NOISE)
        values = np.concatenate([part[0] for part in parts])
        places = tuple(np.concatenate([part[1][axis] for part in parts]) for axis in (0, 1))
        shape = (row + len(state), len(state) + self.count)
        return sparse.csr_matrix((values, places), shape=shape), np.concatenate(residual), weight

    def _distances(self, depth, point, weight, width):
        first, second, edge = self.first, self.second, self.edge
        offset = point[first] - point[second]
        distance = np.linalg.norm(offset, axis=1) + 1e-9
        seen = np.maximum(np.bincount(edge, weight, self.count), 1e-9)
        length = np.bincount(edge, weight * distance, self.count) / seen
        pixels = 2 * self.focal / (depth[first] + depth[second]) / LENGTH_NOISE
        residual = (distance - length[edge]) * pixels
        weight = 1 / (1 + (residual / width) ** 2) ** 2
        scale = pixels * np.sqrt(weight)
        along = offset / distance[:, None]
        values = (
            (along * self.ray[first]).sum(1) * depth[first] * scale,
            -(along * self.ray[second]).sum(1) * depth[second] * scale,
            -length[edge] * scale,
        )
        return ((first, second, len(depth) + edge), values, residual * np.sqrt(weight)), weight

    def _accelerations(self, depth, point):
        for gap, before, now, after in self.triples:
            noise = ACCELERATION_NOISE * gap**2 * np.sqrt(len(self.triples))
            pixels = self.focal / depth[now] / noise
            change = (point[before] - 2 * point[now] + point[after]) @ self.damping * pixels[:, None]
            share = 1 / np.sqrt(1 + ((change**2).sum(1) / 16))
            for axis in range(3):
                values = [
                    factor * (self.ray[at] @ self.damping)[:, axis] * depth[at] * pixels * share
                    for at, factor in ((before, 1), (now, -2), (after, 1))
                ]
                yield (before, now, after), values, change[:, axis] * share
