"""3D trajectories of what moves, from one moving camera: the first guess of a scene's motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..camera import Camera
from ..scene import Scene
from .contact import resting_depth
from .depth import static_depth
from .flow import Flows, sample
from .follow import Tracks2D, follow
from .groups import group, image_distance
from .hidden import completed
from .masks import motion_masks
from .rigidity import Rays, neighbours, solve_depth
from .scale import planes_below, regions_of, scale_of
from .trust import trust

DENSITY = 150  # tracks on the moving pixels of a frame, about
STILL = 0.3  # pixels: a track that one resting point explains this well does not move
SHORTEST = 5  # frames
ROUNDS = 4  # of depth and scale in turn


@dataclass
class Scaffold:
    """Trajectories of M points of moving things.

    Attributes:
        positions: [M, T, 3] in scene units, in every training frame: where a point is hidden, by the motion of
            those around it.
        visible: [M, T] bool, where a point was followed in the video.
        times: [T] of the training frames.
        colors: [M, 3] in 0..1.
    """

    positions: Tensor
    visible: Tensor
    times: Tensor
    colors: Tensor


def motion_scaffold(scene: Scene) -> Scaffold | None:
    """The trajectories of what moves in the training frames of a posed scene; None when nothing does.

    Kept with ``scene`` while it lives.
    """
    if len(scene.train) < SHORTEST:
        return None
    if not hasattr(scene, "_scaffold"):
        scene._scaffold = _build(scene)
    return scene._scaffold


def _build(scene: Scene) -> Scaffold | None:
    masks = motion_masks(scene).numpy()
    area = masks.sum((1, 2)).max()
    if not area:
        return None
    tracks = follow(Flows.of(scene), masks, max(3.0, float(np.sqrt(area / DENSITY))), SHORTEST)
    tracks = tracks[resting_error(tracks, scene.cameras) > STILL]
    if len(tracks) < 2:
        return None
    positions, _, visible = lift_tracks(scene, tracks)
    frames = scene.split("train")
    colors = [sample(frames[t].image.numpy(), pixels[t]) for pixels, t in zip(tracks.pixels, tracks.seeds, strict=True)]
    return Scaffold(positions, visible, torch.tensor(scene.times), torch.from_numpy(np.stack(colors)))


def lift_tracks(scene: Scene, tracks: Tracks2D) -> tuple[Tensor, Tensor, Tensor]:
    """Positions [N, T, 3] of 2D tracks in space, with weights [N, T] and visibility [N, T].

    Depth along each track from the distances that neighbouring points of one thing keep (:mod:`.rigidity`), in turn
    with the scale of each thing (:mod:`.scale`). Weights are 1 where seen and fall to 0 with the frames since.
    """
    cameras, masks = scene.cameras, motion_masks(scene).numpy()
    still = static_depth(scene).numpy()
    rays = Rays.of(tracks, cameras, scene.up)
    distance = image_distance(tracks)
    label = group(tracks, distance, masks.shape[1])
    pairs = neighbours(distance, label)
    regions = regions_of(tracks, label, masks)
    depth = _first_depth(tracks, label, masks, still, cameras, scene.up)
    trusted = trust(scene).trusted.numpy()
    planes = {index: planes_below(seen, masks, still, trusted, cameras, rays.up) for index, seen in regions.items()}
    for turn in range(ROUNDS):
        depth = solve_depth(tracks, rays, pairs, depth, 14, anneal=turn == 0)
        for index, seen in regions.items():
            members = np.nonzero(label == index)[0]
            factor = scale_of(tracks, rays, depth, members, planes[index], seen)
            depth[members] *= np.clip(factor, 0.5, 2.0)
    positions = torch.from_numpy(completed(rays.positions(depth), tracks.visible, label)).float()
    return positions, _weights(tracks.visible), torch.from_numpy(tracks.visible)


def resting_error(tracks: Tracks2D, cameras: list[Camera]) -> np.ndarray:
    """Root mean square distance [N] in pixels of each track from the projection of the best point at rest."""
    rays = Rays.of(tracks, cameras, (0.0, 0.0, 1.0))
    matrices = np.stack([(c.K.double() @ c.viewmat[:3].double()).numpy() for c in cameras])
    error = np.empty(len(tracks))
    for n, seen in enumerate(tracks.visible):
        ray = rays.directions[n, seen]
        ray = ray / np.linalg.norm(ray, axis=1, keepdims=True)
        across = np.eye(3) - ray[:, :, None] * ray[:, None, :]
        weight = across.sum(0) + 1e-9 * np.eye(3)
        point = np.linalg.solve(weight, (across @ rays.centers[seen][..., None]).sum(0)[:, 0])
        place = matrices[seen] @ np.append(point, 1)
        behind = (place[:, 2] <= 0).any()
        place = place[:, :2] / np.where(place[:, 2:] > 0, place[:, 2:], 1)
        error[n] = np.inf if behind else np.sqrt(((place - tracks.pixels[n, seen]) ** 2).sum(1).mean())
    return error


def _first_depth(tracks, label, masks, still, cameras, up) -> np.ndarray:
    """One depth per group, [N, T]: the median of where it would rest in each frame."""
    depth = np.full(tracks.visible.shape, np.nan)
    for t, camera in enumerate(cameras):
        seen = tracks.visible[:, t]
        depth[seen, t] = sample(resting_depth(masks[t], still[t], camera, up), tracks.pixels[seen, t])
    for index in np.unique(label):
        members = label == index
        found = depth[members][tracks.visible[members]]
        depth[members] = np.median(found[found > 1e-6]) if (found > 1e-6).any() else np.median(still)
    return np.where(tracks.visible, depth, np.nan)


def _weights(visible: np.ndarray) -> Tensor:
    """1 where seen, halved for each two frames since or until."""
    steps = torch.arange(visible.shape[1])
    away = (steps[None, :, None] - steps[None, None, :]).abs() + 10_000 * ~torch.from_numpy(visible)[:, None, :]
    return 0.5 ** (away.min(-1).values / 2)
