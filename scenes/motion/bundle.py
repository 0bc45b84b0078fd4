"""Bundle adjustment of one rigid thing filmed by a known camera: its shape, its path, and how far away it is.

Seen alone, a thing that moves could be small and near or large and far. But the camera's own steps and shakes, which
are known, would show in the path of a thing put at a wrong distance: taken to move smoothly through the world, its
distance is determined as well as the camera is unsteady.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .differences import differences

NOISE = 0.3  # pixels, of a point in a frame, where it is not known
JERK = 1.5e-4  # third difference of the path per frame, in shares of the thing's distance, that is nothing unusual
TURN = 3e-3  # third difference of its rotation per frame, in radians
SHAPE = 0.3  # by how much a point may be elsewhere than guessed, in shares of the body's radius
ORDER = 3


@dataclass(frozen=True)
class Views:
    """What is known: F frames of known cameras and S sightings of points in them.

    Attributes:
        eyes: camera centres [F, 3].
        turns: world to camera rotations [F, 3, 3].
        Ks: intrinsics [F, 3, 3].
        times: of the frames, in usual steps from one to the next [F].
        frame, point: which frame and which point each sighting is of, [S].
        pixels: where it is, [S, 2].
        noise: of that, in pixels.
    """

    eyes: np.ndarray
    turns: np.ndarray
    Ks: np.ndarray
    times: np.ndarray
    frame: np.ndarray
    point: np.ndarray
    pixels: np.ndarray
    noise: float = NOISE


@dataclass(frozen=True)
class Body:
    """What is sought, in units of its own: ``unit`` of them are one scene unit.

    Attributes:
        points: in the body [K, 3].
        rotations: body to world [F, 3, 3].
        offsets: of the body's origin from the cameras [F, 3], along the world's axes.
    """

    points: np.ndarray
    rotations: np.ndarray
    offsets: np.ndarray
    unit: float = 1.0


@dataclass(frozen=True)
class Solution:
    """A body with its cost, the errors [S] of its sightings in pixels, and the relative standard deviation of its
    distance from the cameras."""

    body: Body
    cost: float
    errors: np.ndarray
    deviation: float


def adjust(body: Body, views: Views, steps: int = 60) -> Solution:
    """The body that explains the sightings best while it moves and turns smoothly.

    Minimises sum log(1 + e^2) over e = |reprojection error| / noise (Cauchy) + sum 2 (sqrt(1 + e^2) - 1) over
    e = |D (unit eyes + offsets)| / (JERK distance) and e = |D rotations| / TURN (soft L1), D the third difference over
    the frames, by Levenberg-Marquardt with the points eliminated (Triggs et al., Bundle Adjustment - A Modern
    Synthesis, 1999, section 6). The path is weighed in units of the body, so that a smaller world is not a smoother
    one; a jolt, as of a ball that bounces, is dear but possible. A weak pull of the points to where they were guessed
    keeps the body's origin, whose path it is, in its middle: else that would wander to wherever it moves smoothest.

    Args:
        body: a guess, its origin in the middle of its points; its unit does not matter.
        views: sightings of its points, with the cameras in scene units.
        steps: taken at most.
    """
    distance = np.linalg.norm(body.offsets, axis=1).mean()
    prior = _Prior(body, JERK * distance, views.times)
    body = prior.sized(body, views)
    look = _look(body, views)
    cost, damping = _cost(body, look, views, prior), 1e-4
    for _ in range(steps):
        system = _System(body, look, views, prior)
        while damping < 1e6:
            tried = system.step(damping, distance)
            if tried is not None:
                tried = prior.sized(tried, views)
                seen = _look(tried, views)
                now = _cost(tried, seen, views, prior)
                if now < cost and (seen.local[:, 2] > 1e-3).all():
                    break
            damping *= 5
        else:
            break
        gain, body, look, cost, damping = cost - now, tried, seen, now, max(damping / 10, 1e-9)
        if gain < 1e-5 * cost:
            break
    errors = views.noise * np.linalg.norm(look.residual, axis=1)
    return Solution(body, cost, errors, prior.deviation(body, views))


@dataclass(frozen=True)
class _Look:
    residual: np.ndarray  # [S, 2] in shares of the noise
    arm: np.ndarray  # [S, 3] from the body's origin to the point, world axes
    local: np.ndarray  # [S, 3] in the camera


def _look(body: Body, views: Views) -> _Look:
    arm = np.einsum("sij,sj->si", body.rotations[views.frame], body.points[views.point])
    local = np.einsum("sij,sj->si", views.turns[views.frame], arm + body.offsets[views.frame])
    image = np.einsum("sij,sj->si", views.Ks[views.frame], local / np.maximum(local[:, 2:], 1e-3))
    return _Look((image[:, :2] - views.pixels) / views.noise, arm, local)


def _cost(body: Body, look: _Look, views: Views, prior: _Prior) -> float:
    motion = np.concatenate([prior.path(body, views), prior.turning(body)])
    return (
        np.log1p(np.square(look.residual).sum(1)).sum()
        + 2 * (np.sqrt(1 + np.square(motion).sum(1)) - 1).sum()
        + np.square(body.points / prior.reach - prior.shape).sum()
    )


class _Prior:
    """Third differences of the path and of the rotation, and changes of the guessed shape, each in its usual size."""

    def __init__(self, body: Body, jerk: float, times: np.ndarray):
        self.difference = differences(times, ORDER)
        # the same of a path of which the steps are given
        self.of_steps = -np.cumsum(self.difference, 1)[:, :-1]
        self.jerk = jerk
        self.reach = SHAPE * np.sqrt(np.square(body.points).sum(1).mean())
        self.shape = body.points / self.reach

    def path(self, body: Body, views: Views) -> np.ndarray:
        return self.difference @ (body.unit * views.eyes + body.offsets) / self.jerk

    def turning(self, body: Body) -> np.ndarray:
        from scipy.spatial.transform import Rotation

        turned = body.rotations[1:] @ body.rotations[:-1].transpose(0, 2, 1)
        return self.of_steps @ Rotation.from_matrix(turned).as_rotvec() / TURN

    def sized(self, body: Body, views: Views) -> Body:
        """``body`` with the unit that makes its path smoothest, by reweighted least squares; as it was where that would
        put it out of all proportion, since the cameras do not move."""
        eyes, offsets = self.difference @ views.eyes / self.jerk, self.difference @ body.offsets / self.jerk
        unit = body.unit
        for _ in range(30):
            weight = 1 / np.sqrt(1 + np.square(unit * eyes + offsets).sum(1))
            unit = -(weight @ (eyes * offsets).sum(1)) / max(weight @ np.square(eyes).sum(1), 1e-12)
        return replace(body, unit=unit) if unit > 0.05 else body

    def deviation(self, body: Body, views: Views) -> float:
        """Standard error of ``unit`` as the slope between the camera's jerks and the body's."""
        path = self.path(body, views)
        weight = 1 / (1 + np.square(path).sum(1))
        shakes = weight @ np.square(self.difference @ views.eyes / self.jerk).sum(1)
        return float(1 / (body.unit * np.sqrt(max(shakes, 1e-12))))


class _System:
    """Normal equations of one step: a rotation, a shift per frame, and the unit, the points eliminated."""

    def __init__(self, body: Body, look: _Look, views: Views, prior: _Prior):
        self.body = body
        count, frames = len(body.points), len(body.rotations)
        weight = 1 / (1 + np.square(look.residual).sum(1))[:, None, None]
        pose, point = _derivatives(body, look, views)
        self.H, self.g = np.zeros((6 * frames + 1,) * 2), np.zeros(6 * frames + 1)
        blocks = _summed(views.frame, np.einsum("sai,saj->sij", pose * weight, pose), frames)
        for f, block in enumerate(blocks):
            self.H[6 * f : 6 * f + 6, 6 * f : 6 * f + 6] = block
        residual = look.residual[..., None]
        self.g[:-1] = _summed(views.frame, (pose * weight).transpose(0, 2, 1) @ residual, frames).ravel()
        self.points_H = _summed(views.point, np.einsum("sai,saj->sij", point * weight, point), count)
        self.points_g = _summed(views.point, ((point * weight).transpose(0, 2, 1) @ residual)[..., 0], count)
        self.points_H += np.eye(3) / prior.reach**2
        self.points_g += (body.points / prior.reach - prior.shape) / prior.reach
        cross = np.zeros((frames, 6, count, 3))
        cross[views.frame, :, views.point] = np.einsum("sai,saj->sij", pose * weight, point)
        self.cross = np.concatenate([cross.reshape(6 * frames, -1), np.zeros((1, 3 * count))])
        self._add_prior(body, views, prior)

    def _add_prior(self, body: Body, views: Views, prior: _Prior) -> None:
        D, first = prior.difference, 6 * np.arange(len(body.rotations))
        for offset, residual, usual in ((0, prior.turning(body), TURN), (3, prior.path(body, views), prior.jerk)):
            weight = 1 / np.sqrt(1 + np.square(residual).sum(1))
            square = D.T @ (weight[:, None] * D) / usual**2
            for axis in range(3):
                rows = first + offset + axis
                self.H[np.ix_(rows, rows)] += square
                self.g[rows] += D.T @ (weight * residual[:, axis]) / usual
                if offset == 3:
                    eye = D @ views.eyes[:, axis] / usual
                    slope = D.T @ (weight * eye) / usual
                    self.H[rows, -1] += slope
                    self.H[-1, rows] += slope
                    self.H[-1, -1] += weight @ eye**2
                    self.g[-1] += weight @ (eye * residual[:, axis])

    def step(self, damping: float, distance: float) -> Body | None:
        """The body after a damped step, resized to the mean ``distance``, which the sightings leave open; None where
        the step is not determined."""
        from scipy.linalg import LinAlgError, solve
        from scipy.spatial.transform import Rotation

        body, size = self.body, len(self.g)
        trace = np.trace(self.points_H, axis1=1, axis2=2)[:, None, None]
        inverse = np.linalg.inv(self.points_H + (damping / 3 * trace + 1e-9) * np.eye(3))
        through = (self.cross.reshape(size, -1, 1, 3) @ inverse).reshape(size, -1)
        S = self.H + damping * np.diag(np.diag(self.H)) - through @ self.cross.T
        S[np.diag_indices(size)] += 1e-10 * np.trace(S) / size
        try:
            change = solve(S, through @ self.points_g.ravel() - self.g, assume_a="pos")
        except (LinAlgError, ValueError):  # not positive, or not finite
            return None
        moved = self.points_g + (self.cross.T @ change).reshape(-1, 3)
        points = body.points - (inverse @ moved[..., None])[..., 0]
        pose = change[:-1].reshape(-1, 6)
        offsets = body.offsets + pose[:, 3:]
        scale = distance / np.linalg.norm(offsets, axis=1).mean()
        rotations = Rotation.from_rotvec(pose[:, :3]).as_matrix() @ body.rotations
        return replace(
            body, points=points * scale, rotations=rotations, offsets=offsets * scale,
            unit=(body.unit + change[-1]) * scale,
        )


def _derivatives(body: Body, look: _Look, views: Views) -> tuple[np.ndarray, np.ndarray]:
    """Of the residuals in the pose (rotation, shift) [S, 2, 6] and in the point [S, 2, 3]."""
    x, y, z = look.local.T
    image = np.zeros((len(z), 2, 3))
    fx, fy = views.Ks[views.frame, 0, 0], views.Ks[views.frame, 1, 1]
    image[:, 0, 0], image[:, 0, 2] = fx / z, -fx * x / z**2
    image[:, 1, 1], image[:, 1, 2] = fy / z, -fy * y / z**2
    shift = image @ views.turns[views.frame] / views.noise
    turn = np.cross(look.arm[:, None], shift)
    return np.concatenate([turn, shift], -1), shift @ body.rotations[views.frame]


def _summed(index: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    total = np.zeros((count, *values.shape[1:]))
    np.add.at(total, index, values)
    return total
