"""3D trajectories of what moves, from one moving camera: the first guess of a scene's motion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..scene import Scene
from .belonging import as_points, merged, regrouped
from .contact import contact_scale, resting_depth, rounded
from .depth import static_depth
from .flow import Flows, sample
from .follow import Tracks2D, follow
from .least_motion import least_motion, viewing_rays
from .masks import motion_masks
from .rigid import RigidBody, rigid_body
from .segments import segments
from .templates import rematched

SMALLEST = 6  # tracks of a thing
RIGID = 0.2  # pixels of median reprojection error up to which a thing counts as rigid
MOSTLY = 0.6  # share of a group's tracks from which on bodies explain it, and the rest are errors
BENT = 1.5  # and up to which it moves as a body at all
BENDING = 0.03  # by how much a point of a thing that bends leaves the depth of the body, in shares of it
ROUNDS = 5  # of solving the bodies and regrouping the tracks
CONTACT = 0.1  # relative error of a distance told by the ground below a thing


@dataclass
class Scaffold:
    """Trajectories of M points of moving things.

    Attributes:
        positions: [M, T, 3] in scene units, in every training frame: where a point is hidden, by the motion of those
            around it.
        visible: [M, T] bool, where a point was followed in the video.
        times: [T] of the training frames.
        colors: [M, 3] in 0..1.
    """

    positions: Tensor
    visible: Tensor
    times: Tensor
    colors: Tensor


def motion_scaffold(scene: Scene) -> Scaffold | None:
    """The trajectories of what moves in the training frames; None when nothing does. Kept with ``scene``."""
    if len(scene.train) < 3:
        return None
    if not hasattr(scene, "_scaffold"):
        scene._scaffold = _lifted(scene)
    return scene._scaffold


def _lifted(scene: Scene) -> Scaffold | None:
    from threadpoolctl import threadpool_limits

    flows, masks = Flows.of(scene), motion_masks(scene).numpy()
    if not masks.any():
        return None
    area = masks.sum((1, 2)).max()
    spacing = max(3.0, float(np.sqrt(area / 480)))
    tracks = follow(flows, masks, spacing)
    if len(tracks) < 2:
        return None
    # Many small systems: the threads of the linear algebra would only wait for one another.
    with threadpool_limits(1, user_api="blas"):
        positions, visible, kept = lift_tracks(scene, tracks, masks, spacing)
    frames = scene.split("train")
    colors = torch.stack(
        [
            torch.from_numpy(sample(frames[tracks.seeds[n]].image.numpy(), tracks.pixels[n, tracks.seeds[n]][None])[0])
            for n in kept
        ]
    )
    return Scaffold(positions, visible, torch.tensor(scene.times), colors)


def lift_tracks(scene: Scene, tracks: Tracks2D, masks: np.ndarray, spacing: float) -> tuple[Tensor, Tensor, np.ndarray]:
    """Positions [M, T, 3] and visibility [M, T] of 2D tracks ``spacing`` pixels apart in space, and which they are [M].

    A first guess (:mod:`.least_motion`) tells the things apart (:mod:`.segments`); each is then solved as a rigid body
    (:mod:`.rigid`), its points matched anew (:mod:`.templates`), and all tracks asked which body explains them
    (:mod:`.belonging`), in turn. How far away a body is, its smooth motion tells, and the ground it stands on
    (:mod:`.contact`). Tracks of things that are not rigid, or too small to tell, keep the guess; tracks begun on a
    rigid body that its motion does not explain are left out.
    """
    still = static_depth(scene).numpy()
    cameras = scene.cameras
    centers = torch.stack([camera.center for camera in cameras]).double().numpy()
    viewmats = torch.stack([camera.viewmat for camera in cameras]).double().numpy()
    Ks = torch.stack([camera.K for camera in cameras]).double().numpy()
    prior = _prior_depth(scene, tracks, masks, still)
    rays = viewing_rays(tracks.pixels, cameras)
    guess = least_motion(rays, centers, tracks.visible, prior).double().numpy()
    reach = np.nanmedian(np.where(tracks.visible, prior, np.nan), 1) * spacing / Ks[0, 0, 0]
    numbers = segments(guess, tracks.visible, 2.2 * reach)
    groups = [np.flatnonzero(numbers == number) for number in np.flatnonzero(np.bincount(numbers) >= SMALLEST)]
    groups_at_first = groups
    pixels, visible = tracks.pixels.astype(float), tracks.visible.copy()
    guesses, grays = [guess, centers + rays * prior[..., None]], Flows.of(scene).gray
    for attempt in range(ROUNDS):
        bodies = _solved(groups, guesses, pixels, visible, viewmats, Ks)
        if attempt == 0:
            guesses = guesses[:1]  # now the bodies' own
        else:
            bodies = merged(bodies, guesses[0], 3 * spacing, pixels, visible, viewmats, Ks)
        for body in bodies:
            where = np.ix_(body.members, body.frames)
            pixels[where], visible[where] = rematched(body, grays, masks, pixels, visible, viewmats, Ks)
            guesses[0][where] = body.positions
        if attempt + 1 < ROUNDS:
            found = regrouped(bodies, pixels, visible, viewmats, Ks)
            groups = [body.members for body in found]
            for body in found:
                guesses[0][np.ix_(body.members, body.frames)] = body.positions
    carried = np.zeros(len(tracks), bool)
    positions = guess.copy()
    bodies = [body.resized(_touching(body, pixels, masks, still, scene), centers[body.frames]) for body in bodies]
    for body in bodies + _limbs(groups_at_first, bodies, pixels, visible, viewmats, Ks):
        where = np.ix_(body.members, body.frames)
        bends = body.error > RIGID
        positions[where] = _bent(body, pixels, visible, cameras) if bends else body.positions
        carried[body.members] = True
    held = np.isfinite(positions).all(-1)
    visible &= held
    kept = np.flatnonzero(carried | (visible.any(1) & ~_among(carried, pixels, visible, 2 * spacing)))
    filled = _held(torch.from_numpy(positions[kept]).float(), torch.from_numpy(held[kept]))
    return filled, torch.from_numpy(visible[kept]), kept


def _limbs(groups: list[np.ndarray], bodies: list[RigidBody], *views) -> list[RigidBody]:
    """What moves with a body without being rigid with it: of the ``groups`` that bodies explain only in part, the rest
    of the tracks, as if they were points of the body that explains most."""
    taken = np.concatenate([body.members for body in bodies]) if bodies else np.zeros(0, int)
    limbs = []
    for group in groups:
        share = np.isin(group, taken).mean()
        if not 0 < share < MOSTLY:
            continue
        body = max(bodies, key=lambda body: np.isin(group, body.members).sum())
        rest = np.setdiff1d(group, taken)
        points, error = as_points(body, *views)
        points = np.where(np.isfinite(error)[:, None], points, 0.0)
        limbs.append(replace(body, members=rest, points=points[rest], error=np.inf))
        taken = np.concatenate([taken, rest])
    return limbs


def _bent(body: RigidBody, pixels: np.ndarray, visible: np.ndarray, cameras: list) -> np.ndarray:
    """Positions [K, F, 3] of the members of a body that is not quite rigid: where they are seen, at the depth at which
    they move least against the body; between, as far from the body as before and after."""
    where, cameras = np.ix_(body.members, body.frames), [cameras[f] for f in body.frames]
    carrier, seen = body.positions, visible[where]
    eyes = np.stack([camera.center.double().numpy() for camera in cameras])
    places = torch.from_numpy(carrier).float()
    depth = torch.stack([camera.project(places[:, j])[1] for j, camera in enumerate(cameras)], 1).double().numpy()
    rays = viewing_rays(pixels[where].astype(np.float32), cameras)
    bent = least_motion(rays, eyes, seen, depth, carrier, BENDING).double().numpy() - carrier
    steps = np.arange(len(cameras))
    for offset, known in zip(bent, seen, strict=True):
        for axis in range(3):
            offset[:, axis] = np.interp(steps, steps[known], offset[known, axis]) if known.any() else 0.0
    return carrier + bent


def _among(carried: np.ndarray, pixels: np.ndarray, visible: np.ndarray, reach: float) -> np.ndarray:
    """Which tracks [N] run within ``reach`` pixels of those ``carried`` by a body in most of their frames."""
    near = np.zeros(visible.shape, bool)
    for t in range(visible.shape[1]):
        seen, bodies = np.flatnonzero(visible[:, t]), np.flatnonzero(visible[:, t] & carried)
        if len(bodies):
            gaps = np.linalg.norm(pixels[seen, t][:, None] - pixels[bodies, t][None], axis=-1)
            near[seen, t] = gaps.min(1) < reach
    return near.sum(1) > 0.5 * visible.sum(1)


def _solved(groups: list[np.ndarray], guesses: list[np.ndarray], *views) -> list[RigidBody]:
    """Those of the ``groups`` of tracks that are rigid bodies."""
    solved = [rigid_body(group, guesses, *views) for group in groups if len(group) >= SMALLEST]
    return [body for body in solved if body is not None and body.error < BENT]


def _touching(body: RigidBody, pixels: np.ndarray, masks: np.ndarray, still: np.ndarray, scene: Scene) -> float:
    """Factor on the distance of ``body``, between what its motion and the ground it stands on tell, by their errors."""
    scale = contact_scale(body, pixels, masks, still, scene.cameras, scene.up)
    if scale is None or not 0.5 < scale < 2:
        return 1.0
    trust = body.deviation**2 / (body.deviation**2 + CONTACT**2)
    return float(scale**trust)


def _prior_depth(scene: Scene, tracks: Tracks2D, masks: np.ndarray, still: np.ndarray) -> np.ndarray:
    """Depth [N, T] of the tracks if every moving part stood on the ground below it and were round."""
    prior = np.full(tracks.visible.shape, np.nan)
    height, width = masks.shape[1:]
    for t, camera in enumerate(scene.cameras):
        upright = resting_depth(masks[t], still[t], camera, scene.up)
        depth = rounded(masks[t], upright, float(camera.K[0, 0]))
        seen = tracks.visible[:, t]
        at = np.clip(tracks.pixels[seen, t].astype(int), 0, [width - 1, height - 1])
        prior[seen, t] = np.maximum(depth[at[:, 1], at[:, 0]], 0.2 * np.median(still[t]))
    return prior


def _held(positions: Tensor, visible: Tensor) -> Tensor:
    """Trajectories without gaps: where a point is hidden it stays where it was seen last or will be first."""
    steps = torch.arange(visible.shape[1])
    nearest = (steps[None, :, None] - steps[None, None, :]).abs() + 10_000 * ~visible[:, None, :]
    source = nearest.argmin(-1)
    return positions.gather(1, source[..., None].expand(-1, -1, 3))
