"""3D trajectories of what moves, from one moving camera: the first guess of a scene's motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..scene import Scene
from .contact import contact_scale, resting_depth, rounded
from .depth import static_depth
from .flow import Flows, sample
from .follow import Tracks2D, follow
from .least_motion import least_motion, viewing_rays
from .masks import motion_masks
from .rigid import rigid_body
from .segments import segments

SMALLEST = 6  # tracks of a thing
RIGID = 0.45  # pixels of median reprojection error up to which a thing counts as rigid


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
    flows, masks = Flows.of(scene), motion_masks(scene).numpy()
    if not masks.any():
        return None
    area = masks.sum((1, 2)).max()
    spacing = max(3.0, float(np.sqrt(area / 150)))
    tracks = follow(flows, masks, spacing)
    if len(tracks) < 2:
        return None
    positions, _, visible = lift_tracks(scene, tracks, masks, spacing)
    frames = scene.split("train")
    colors = torch.stack(
        [
            torch.from_numpy(sample(frames[t].image.numpy(), tracks.pixels[n, t][None])[0])
            for n, t in enumerate(tracks.seeds)
        ]
    )
    return Scaffold(positions, visible, torch.tensor(scene.times), colors)


def lift_tracks(scene: Scene, tracks: Tracks2D, masks: np.ndarray, spacing: float) -> tuple[Tensor, Tensor, Tensor]:
    """Positions [N, T, 3], weights [N, T] and visibility [N, T] of 2D tracks ``spacing`` pixels apart, in space.

    A first guess (:mod:`.least_motion`) tells the things apart (:mod:`.segments`); each is then solved as a rigid body
    (:mod:`.rigid`) and put on the ground it stands on (:mod:`.contact`). Tracks of things that are not rigid, or too
    small to tell, keep the guess. The weight is 1 for tracks of a rigid body, 0.3 for others.
    """
    cameras, still = scene.cameras, static_depth(scene).numpy()
    pixels, visible = tracks.pixels, tracks.visible
    centers = torch.stack([camera.center for camera in cameras]).double().numpy()
    prior = _prior_depth(scene, tracks, masks, still)
    guess = least_motion(viewing_rays(pixels, cameras), centers, visible, prior).double().numpy()
    positions, held = guess.copy(), visible.copy()
    weights = np.where(visible, 0.3, 0.0)
    viewmats = torch.stack([camera.viewmat for camera in cameras]).double().numpy()
    Ks = torch.stack([camera.K for camera in cameras]).double().numpy()
    reach = np.nanmedian(np.where(visible, prior, np.nan), 1) * spacing / Ks[0, 0, 0]
    numbers = segments(guess, visible, 2.2 * reach)
    for number in np.flatnonzero(np.bincount(numbers) >= SMALLEST):
        body = rigid_body(np.flatnonzero(numbers == number), guess, pixels, visible, viewmats, Ks)
        if body is None or body.error > RIGID:
            continue
        scale = contact_scale(body, pixels, masks, still, cameras, scene.up)
        if scale is not None and 0.67 < scale < 1.5:
            eyes = centers[body.frames]
            body.positions = eyes + scale * (body.positions - eyes)
        where = np.ix_(body.members, body.frames)
        positions[where], held[where], weights[where] = body.positions, True, 1.0
    filled = _held(torch.from_numpy(positions).float(), torch.from_numpy(held))
    return filled, torch.from_numpy(weights).float(), torch.from_numpy(visible)


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
