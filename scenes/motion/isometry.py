"""Bundle adjustment of a thing that bends and does not stretch, filmed by a known camera: where its points are in every
frame.

What bends may be anywhere along its viewing rays. But cloth, skin and paper do not stretch: points beside each other
stay as far apart as they are, which ties the depths of all of them together in every frame (Salzmann & Fua, Deformable
Surface 3D Reconstruction from Monocular Images, 2010), and they move smoothly, which ties the frames together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .differences import differences
from .sightings import Sightings

ORDER = 3
KNOTS = 3  # frames from one knot of a path to the next
INNER = 100  # conjugate gradients of a step at most
CLOSE = 0.01  # share of the first residual at which they stop
SETTLED = 1e-3  # share of the cost that a step must gain for another to follow


@dataclass(frozen=True)
class Usual:
    """How large each kind of residual usually is.

    Attributes:
        noise: of a point in a frame, in pixels.
        jerk: third difference of a point's path per frame, in shares of its distance.
        strain: relative change of the distance of two points that keep it.
        distance: relative change of the distance of the whole, which a smaller world would be smoother for.
    """

    noise: float = 0.3
    jerk: float = 1e-3
    strain: float = 0.05
    distance: float = 1e-3


ROUGH = Usual(noise=0.5, jerk=5e-4, strain=0.2)  # at first, when the shape is sought that the fit then keeps to


@dataclass(frozen=True)
class Bent:
    """Paths of N points and how well they fit.

    Attributes:
        positions: [N, T, 3] in scene units.
        cost: what :meth:`Isometry.adjust` minimises.
        error: median reprojection error in pixels.
        strain: median relative change of a distance that should not change.
    """

    positions: np.ndarray
    cost: float
    error: float
    strain: float


class Isometry:
    """The least-squares problem of N points that keep their distances.

    Args:
        views: sightings of the points in T frames.
        links: pairs [E, 2] of points that keep their distance, whatever it is.
        guess: positions [N, T, 3] that are, as a whole, as far away as the points.
        usual: sizes of the residuals.
    """

    def __init__(self, views: Sightings, links: np.ndarray, guess: np.ndarray, usual: Usual):
        from scipy.sparse import csr_matrix

        self.views, self.pixels, self.seen, self.usual = views, np.nan_to_num(views.pixels), views.visible, usual
        depth = np.einsum("tj,ntj->nt", views.viewmats[:, 2, :3], guess) + views.viewmats[:, 2, 3]
        self.away = np.log(np.maximum(depth, 1e-3))[self.seen].mean()
        self.basis = splines(views.times)
        self.jerk = differences(views.times, ORDER) @ self.basis / (usual.jerk * np.exp(self.away))
        ends, rows = np.repeat([1.0, -1.0], len(links)), np.tile(np.arange(len(links)), 2)
        self.across = csr_matrix((ends, (rows, links.T.ravel())), (len(links), len(self.seen)))
        self.looked = self.basis[:: max(1, KNOTS // 2)]

    def adjust(self, positions: np.ndarray, steps: int) -> Bent:
        """The paths that explain the sightings best, from a start of the ``positions`` [N, T, 3].

        Minimises sum log(1 + e^2) over e = |reprojection error| + sum 2 (sqrt(1 + e^2) - 1) over e = |third difference
        of a path| and e = log(length / own length of the link), whatever its own length may be, each in its usual size,
        over paths that are cubic splines and on average as far away as the guess: a smaller world would be a smoother
        one. By Levenberg-Marquardt with conjugate gradients inside, each point's own block as preconditioner.
        """
        look, damping = _Look.at(self, np.linalg.pinv(self.basis) @ positions), 1e-3
        for _ in range(steps):
            system = _System(self, look)
            while damping < 1e3:
                tried = _Look.at(self, look.paths + system.step(damping))
                if tried.cost < look.cost:
                    break
                damping *= 5
            else:
                break
            gain, look, damping = look.cost - tried.cost, tried, max(damping / 5, 1e-6)
            if gain < SETTLED * look.cost:
                break
        error = self.usual.noise * np.linalg.norm(look.miss, axis=-1)[self.seen]
        strain = self.usual.strain * np.abs(look.strain)
        return Bent(self.basis @ look.paths, look.cost, float(np.median(error)), float(np.median(strain)))


@dataclass(frozen=True)
class _Look:
    """The residuals of ``paths`` [N, K, 3], each in its usual size."""

    paths: np.ndarray
    seen: np.ndarray  # [N, T] bool
    local: np.ndarray  # [N, T, 3] in the cameras
    miss: np.ndarray  # [N, T, 2] reprojection
    jerk: np.ndarray  # [N, T - 3, 3]
    links: np.ndarray  # [E, L, 3] from one end to the other
    strain: np.ndarray  # [E, L]
    away: float  # the whole is farther than it should be

    @classmethod
    def at(cls, problem: Isometry, paths: np.ndarray) -> _Look:
        views, usual = problem.views, problem.usual
        local = np.einsum("tij,ntj->nti", views.viewmats[:, :3, :3], problem.basis @ paths) + views.viewmats[:, :3, 3]
        depth = np.maximum(local[..., 2], 1e-3)
        image = np.einsum("tij,ntj->nti", views.Ks, local / depth[..., None])
        links = problem.looked @ (problem.across @ paths.reshape(len(paths), -1)).reshape(-1, *paths.shape[1:])
        length = np.log(np.maximum(np.linalg.norm(links, axis=-1), 1e-9))
        own = np.median(length, 1, keepdims=True)
        for _ in range(20):  # robust mean
            weight = 1 / np.hypot(1, (length - own) / usual.strain)
            own = (weight * length).sum(1, keepdims=True) / weight.sum(1, keepdims=True)
        return cls(
            paths, problem.seen, local, (image[..., :2] - problem.pixels) / usual.noise, problem.jerk @ paths, links,
            (length - own) / usual.strain, (np.log(depth)[problem.seen].mean() - problem.away) / usual.distance,
        )

    @cached_property
    def cost(self) -> float:
        return float(
            np.log1p(np.square(self.miss).sum(-1))[self.seen].sum()
            + 2 * (np.sqrt(1 + np.square(self.jerk).sum(-1)) - 1).sum()
            + 2 * (np.sqrt(1 + np.square(self.strain)) - 1).sum()
            + self.away**2
        )


class _System:
    """Normal equations of one step, as products with them and as each point's own block."""

    def __init__(self, problem: Isometry, look: _Look):
        self.problem, self.shape = problem, look.paths.shape
        basis, views, usual = problem.basis, problem.views, problem.usual
        depth = np.maximum(look.local[..., 2], 1e-3)
        image = np.zeros((*depth.shape, 2, 3))
        image[..., 0, 0], image[..., 1, 1] = views.Ks[:, 0, 0] / depth, views.Ks[:, 1, 1] / depth
        image[..., :2, 2] = -(views.Ks[:, [0, 1], [0, 1]] * look.local[..., :2]) / depth[..., None] ** 2
        slope = image @ views.viewmats[:, :3, :3] / usual.noise
        weighted = slope * (look.seen / (1 + np.square(look.miss).sum(-1)))[..., None, None]
        self.sight = np.einsum("ntac,ntad->ntcd", weighted, slope)
        self.smooth = 1 / np.sqrt(1 + np.square(look.jerk).sum(-1))[..., None]
        self.held = 1 / np.sqrt(1 + np.square(look.strain))
        self.along = look.links / np.square(look.links).sum(-1, keepdims=True).clip(1e-12) / usual.strain
        ahead = (look.seen / depth)[..., None] * views.viewmats[:, 2, :3] / (look.seen.sum() * usual.distance)
        self.ahead = basis.T @ ahead
        self.gradient = (
            look.away * self.ahead
            + basis.T @ np.einsum("ntac,nta->ntc", weighted, look.miss)
            + problem.jerk.T @ (self.smooth * look.jerk)
            + self._from_links(self.held * look.strain)
        )

    def product(self, change: np.ndarray) -> np.ndarray:
        """Of the normal matrix and a ``change`` of the paths [N, K, 3]."""
        problem = self.problem
        moved = (self.sight @ (problem.basis @ change)[..., None])[..., 0]
        stretched = problem.looked @ (problem.across @ change.reshape(len(change), -1)).reshape(-1, *change.shape[1:])
        stretched = (self.along * stretched).sum(-1)
        # a link's own length goes along
        stretched -= (self.held * stretched).sum(1, keepdims=True) / self.held.sum(1, keepdims=True)
        return (
            (self.ahead * change).sum() * self.ahead
            + problem.basis.T @ moved
            + problem.jerk.T @ (self.smooth * (problem.jerk @ change))
            + self._from_links(self.held * stretched)
        )

    def _from_links(self, pulls: np.ndarray) -> np.ndarray:
        """What pulls along the links [E, L] come to on the paths [N, K, 3]."""
        on_paths = self.problem.looked.T @ (self.along * pulls[..., None])
        return (self.problem.across.T @ on_paths.reshape(len(on_paths), -1)).reshape(self.shape)

    @cached_property
    def blocks(self) -> np.ndarray:
        """The normal matrix of each point alone [N, 3 K, 3 K]."""
        problem, (count, knots, _) = self.problem, self.shape
        pull = np.einsum("el,elc,eld->elcd", self.held, self.along, self.along).reshape(len(self.held), -1)
        pull = (abs(problem.across).T @ pull).reshape(count, -1, 3, 3)
        smooth = problem.jerk.T @ (self.smooth * problem.jerk)
        out = np.zeros((count, knots, 3, knots, 3))
        for basis, weight in ((problem.basis, self.sight), (problem.looked, pull)):
            pairs = (basis[:, :, None] * basis[:, None]).reshape(len(basis), -1)
            sums = pairs.T @ weight.reshape(count, len(basis), 9)
            out += sums.reshape(count, knots, knots, 3, 3).transpose(0, 1, 3, 2, 4)
        for axis in range(3):
            out[:, :, axis, :, axis] += smooth
        return out.reshape(count, 3 * knots, 3 * knots)

    def step(self, damping: float) -> np.ndarray:
        """The change of the paths [N, K, 3] by a damped step, by conjugate gradients."""
        place = np.arange(self.blocks.shape[1])
        own = self.blocks[:, place, place]
        damped = self.blocks.copy()
        damped[:, place, place] += damping * own + 1e-9 * own.mean()
        inverse = np.linalg.inv(damped)
        change, left = np.zeros(self.shape), -self.gradient
        eased = (inverse @ left.reshape(*own.shape, 1)).reshape(self.shape)
        along, size = eased, (left * eased).sum()
        first = size
        for _ in range(INNER):
            turned = self.product(along) + (damping * own).reshape(self.shape) * along
            rate = size / (along * turned).sum()
            change, left = change + rate * along, left - rate * turned
            eased = (inverse @ left.reshape(*own.shape, 1)).reshape(self.shape)
            now = (left * eased).sum()
            if now < CLOSE**2 * first:
                break
            along, size = eased + now / size * along, now
        return change


def splines(times: np.ndarray) -> np.ndarray:
    """Values [T, K] of cubic B-splines at the frames ``times`` [T], with a knot at about every third of them."""
    from scipy.interpolate import BSpline

    pieces = max(1, round((len(times) - 1) / KNOTS))
    inner = times[np.linspace(0, len(times) - 1, pieces + 1).round().astype(int)]
    knots = np.concatenate([np.repeat(inner[0], 3), inner, np.repeat(inner[-1], 3)])
    return BSpline.design_matrix(times, knots, 3).toarray()
