"""2D tracks of moving things lifted into space: which bodies there are, how they move, and how far away they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..scene import Scene
from .bending import bent
from .bodies import SMALLEST, Pictures, find_bodies
from .bundle import ORDER
from .carrying import carried
from .contact import contact_scale, resting_depth, rounded
from .depth import static_depth
from .differences import noise_share
from .flow import Flows
from .follow import Tracks2D
from .least_motion import least_motion
from .limbs import RIGID, attached, hanging
from .rigid import RigidBody
from .segments import segments
from .sheets import sheet
from .sightings import Sightings

DEPTH = 4.0  # median depth of the still world in the units in which least motion is weighed
CONTACT = 0.1  # relative error of a distance told by the ground below a thing
NEARER = 0.3  # by how much a thing may be nearer than what is behind it, in shares of the distance


@dataclass
class LiftedTracks:
    """Trajectories of M points of moving things.

    Attributes:
        positions: [M, T, 3] in scene units, in every training frame: where a point is hidden, by the motion of those
            around it.
        visible: [M, T] bool, where a point was followed in the video.
        times: [T] of the training frames.
        things: [M] which thing each is part of; -1 where that is not known.
        rigid: [M] bool, whether it is a point of a rigid body.
    """

    positions: Tensor
    visible: Tensor
    times: Tensor
    things: Tensor
    rigid: Tensor


def lift_tracks(scene: Scene, tracks: Tracks2D, masks: np.ndarray, spacing: float) -> LiftedTracks:
    """2D tracks ``spacing`` pixels apart in space, as far as they can be lifted.

    A first guess (:mod:`.least_motion`) tells the things apart (:mod:`.segments`); each is then solved as a rigid body
    (:mod:`.rigid`), its points matched anew (:mod:`.templates`), and all tracks asked which body explains them
    (:mod:`.belonging`), in turn. How far away a body is, its smooth motion tells, and the ground it stands on
    (:mod:`.contact`); what swings (:mod:`.limbs`) or bends (:mod:`.bending`) keeps to the body it hangs on, and what
    bends all over without stretching (:mod:`.sheets`) to its lengths. Tracks of things too small to tell keep the
    guess; tracks that run among those of a body and belong to none are left out.

    Args:
        masks: [T, H, W] bool, the moving pixels of the training frames.
    """
    still, cameras = static_depth(scene).numpy(), scene.cameras
    views, pictures = Sightings.of(tracks, cameras, scene.times), Pictures(Flows.of(scene).gray, masks)
    prior = _prior_depth(scene, tracks, masks, still)
    rays, eyes = views.rays(), views.eyes
    unit = float(np.median(still)) / DEPTH
    guess = unit * least_motion(rays, eyes / unit, tracks.visible, views.times, prior / unit).double().numpy()
    apart = np.nanmedian(np.where(tracks.visible, prior, np.nan), 1) * spacing / views.Ks[0, 0, 0]
    numbers = segments(guess, tracks.visible, 2.2 * apart)
    groups = [np.flatnonzero(numbers == number) for number in np.flatnonzero(np.bincount(numbers) >= SMALLEST)]
    positions = guess.copy()
    bodies = find_bodies(groups, [positions, eyes + rays * prior[..., None]], views, pictures, 3 * spacing)
    noise = NEARER * noise_share(eyes, views.times, ORDER)
    scales = [_touching(body, noise, views.pixels, masks, still, scene) for body in bodies]
    bodies = [body.resized(scale, eyes[body.frames]) for body, scale in zip(bodies, scales, strict=True)]
    spread = 2.2 * float(np.median(apart))
    things, rigid = _place(groups, bodies, tracks, positions, views, spread)
    free = things < 0
    _restore(free, views, tracks)
    positions[free] = guess[free]
    held = np.isfinite(positions).all(-1)
    visible = views.visible & held
    kept = np.flatnonzero(~free | (visible.any(1) & ~_among(~free, views.pixels, visible, 2 * spacing)))
    filled = carried(positions[kept], held[kept], views.times, np.zeros((0, 3)), 2 * spread)
    visible, things, rigid = (torch.from_numpy(values[kept]) for values in (visible, things, rigid))
    return LiftedTracks(torch.from_numpy(filled).float(), visible, torch.tensor(scene.times), things, rigid)


def _place(groups: list[np.ndarray], bodies: list[RigidBody], tracks: Tracks2D, positions: np.ndarray,
           views: Sightings, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Write into ``positions`` [N, T, 3] where the points of the ``bodies`` and what hangs on them are; which thing
    each track is part of [N], -1 for none, and whether it is a point of a rigid body [N]."""
    things, rigid, parents = np.full(len(tracks), -1), np.zeros(len(tracks), bool), []
    nowhere = np.ones(len(tracks), bool)
    for body in bodies:
        nowhere[body.members] = False
    _restore(nowhere, views, tracks)  # what is no part of a body is not seen where one had put it
    for parent, loose in hanging(groups, bodies, views, spread):
        _restore(loose, views, tracks)
        stiff = parent.error <= RIGID
        rigid[parent.members] = stiff
        positions[np.ix_(parent.members, parent.frames)] = parent.positions
        soft = loose if stiff else np.concatenate([parent.members, loose])
        still = parent.points if stiff else np.zeros((0, 3))
        positions[np.ix_(soft, parent.frames)] = bent(parent, soft, views, still)
        # what hangs together is one thing, if of several bodies
        whole = [things[other.members[0]] for other in parents if attached(parent, other, 2 * spread)]
        things[np.concatenate([parent.members, loose])] = whole[0] if whole else len(parents)
        parents.append(parent)
    for thing in np.unique(things[things >= 0]):
        whole = [body for body in parents if things[body.members[0]] == thing]
        _as_sheet(thing, whole, things, rigid, positions, views)
    return things, rigid


def _as_sheet(thing: int, bodies: list[RigidBody], things: np.ndarray, rigid: np.ndarray, positions: np.ndarray,
             views: Sightings) -> None:
    """Place the points of a ``thing`` whose largest body bends as those of a sheet (:mod:`.sheets`), where they are;
    tracks of it that are none, or more than tell its shape, are then part of no thing."""
    largest = max(bodies, key=lambda body: len(body.members))
    tracks = np.flatnonzero(things == thing)
    guess = positions[np.ix_(tracks, largest.frames)]
    known = np.isfinite(guess).all((1, 2))
    if largest.error <= RIGID or not known.any():
        return
    found = sheet(tracks[known], bodies, largest.frames, guess[known], views)
    if found is None:
        return
    things[tracks], rigid[tracks], things[found.members] = -1, False, thing
    positions[np.ix_(found.members, largest.frames)] = found.positions


def _restore(which: np.ndarray, views: Sightings, tracks: Tracks2D) -> None:
    """Take back what was found out of where ``which`` of the tracks are seen."""
    views.pixels[which], views.visible[which] = tracks.pixels[which], tracks.visible[which]


def _among(owned: np.ndarray, pixels: np.ndarray, visible: np.ndarray, reach: float) -> np.ndarray:
    """Which tracks [N] run within ``reach`` pixels of those ``owned`` by a body in most of their frames."""
    near = np.zeros(visible.shape, bool)
    for t in range(visible.shape[1]):
        seen, bodies = np.flatnonzero(visible[:, t]), np.flatnonzero(visible[:, t] & owned)
        if len(bodies):
            gaps = np.linalg.norm(pixels[seen, t][:, None] - pixels[bodies, t][None], axis=-1)
            near[seen, t] = gaps.min(1) < reach
    return near.sum(1) > 0.5 * visible.sum(1)


def _touching(body: RigidBody, noise: float, pixels: np.ndarray, masks: np.ndarray, still: np.ndarray,
              scene: Scene) -> float:
    """Factor on the distance of ``body``, between what its motion and the ground it stands on tell, by their errors.

    Errors of estimated cameras look like shakes that everything behind it goes along with, which puts a thing there:
    ``noise`` is the relative error of what motion tells that comes from them.
    """
    scale = contact_scale(body, pixels, masks, still, scene.cameras, scene.up)
    if scale is None or not 0.5 < scale < 2:
        return 1.0
    error = np.hypot(body.deviation, noise)
    trust = error**2 / (error**2 + CONTACT**2)
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
