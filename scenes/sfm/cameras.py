"""Cameras for a video that came without: by structure from motion, else weaker ones that are named as such."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch

from ..camera import Camera
from ..motion.flow import Flows, pixel_grid
from ..motion.masks import motion_masks
from ..scene import PointCloud, Scene
from .agreement import explained
from .followed import followed_points
from .mapping import ATTEMPTS, Model, map_frames
from .rotation import turning_viewmats

ENOUGH = 0.8  # share of the frames that must register
DEPTH = 4.0  # median depth of the points, or of the nominal world, in scene units
POINTS = 50  # a model of fewer points says nothing about depth
NEAR, LEAP = 5, 20  # places, times the median speed
STRIDE = 4  # pixels between the points of a nominal world
FOVS = (55.0, 25.0, 32.0, 40.0, 47.0, 63.0, 72.0, 82.0)  # degrees across that are tried, the first by default
BETTER = 0.95  # share of the default's error at which another one is taken
AGREED = 0.85  # share of the flow that cameras explain from which on no others are sought
DRAWS = 3  # models tried on points followed by flow: an unlucky first pair of frames spoils one
VIEWS = (15.0, 120.0)  # degrees across that a camera may have


def estimate_cameras(scene: Scene) -> Scene:
    """The scene with cameras, initial points and notes on how they were found and what that means.

    Moving regions are masked out. Structure from motion (pycolmap) is tried on detected features, with ever looser
    demands on parallax, and, where that fails or optical flow disagrees with the cameras, on points followed by flow,
    drawn up to ``DRAWS`` times; of the models the one that flow agrees with most is taken. If less than 80% of the
    frames register, or hardly any points come of it, or flow agrees more with a camera that turns in place, it is taken
    to turn, or, where not even a turn fits, to rest. Frames that did not register, or to which the camera would have
    had to jump, are left out. The world is scaled to a median depth of 4, its up is the mean camera up.
    """
    frames = scene.split("train") + scene.split("test")
    order = np.argsort([frame.time for frame in frames], kind="stable")
    frames = [frames[i] for i in order]
    everything = dataclasses.replace(scene, frames=frames, train=list(range(len(frames))), test=[])
    moving = motion_masks(everything).numpy()
    images = [(frame.image * 255).round().byte().numpy() for frame in frames]
    flows = Flows.of(everything)
    held_out = {frame.name for frame in scene.split("test")}
    model, agreement, by, why, tracks = None, 0.0, "", "", None
    for draw in range(1 + DRAWS):
        if draw == 1:
            tracks = followed_points(flows, moving)
        tried = map_frames(images, list(moving), enough=ENOUGH, tracks=tracks, seed=max(draw, 1))
        if isinstance(tried, Model):
            tried = without_jumps(tried)
        unusable = _unusable(tried, len(frames))
        why = why or unusable
        if not unusable:
            agreed = explained(tried.viewmats, tried.K, flows.subset(list(tried.frames)), moving[tried.frames])
            if agreed > agreement:
                model, agreement = tried, agreed
                by = "matched features" if tracks is None else "points followed by flow"
        if agreement >= AGREED or (tracks is not None and model is None):
            break
    if agreement < AGREED:
        turned = _turned(flows, moving)
        agreed = explained(turned.viewmats, turned.K, flows, moving)
        if model is None or agreed > agreement:
            why = why or f"only {agreement:.0%} of the optical flow agrees with structure from motion"
            return _sharing_flows(_turning(scene, frames, held_out, moving, turned, why), everything)
    return _sharing_flows(_from_model(scene, frames, held_out, model, agreement, by), everything)


def _unusable(model: Model | str, count: int) -> str:
    """Why a model of ``count`` frames is of no use, in words; empty where it is of some."""
    if isinstance(model, str):
        return model
    if len(model.frames) < ENOUGH * count or len(model.points) < POINTS:
        found = f"{len(model.frames)} of {count} frames with {len(model.points)} points"
        return f"structure from motion registered {found}: too little parallax"
    view = math.degrees(2 * math.atan(model.K[0, 2] / model.K[0, 0]))
    if not VIEWS[0] < view < VIEWS[1]:
        return f"structure from motion found a field of view of {view:.0f} degrees: too little parallax"
    return ""


def without_jumps(model: Model) -> Model:
    """The largest part of ``model`` through which its camera moves steadily.

    With little parallax some frames register anywhere. Frames up to ``NEAR`` places apart belong together if the camera
    gets from one to the other at no more than ``LEAP`` times its median speed, or by half the depth of the world.
    """
    from scipy.sparse.csgraph import connected_components

    if len(model.frames) < 3:
        return model
    centers = -np.einsum("fji,fj->fi", model.viewmats[:, :3, :3], model.viewmats[:, :3, 3])
    way = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    gap = np.abs(model.frames[:, None] - model.frames[None])
    speed = np.median(np.diagonal(way, 1) / np.diagonal(gap, 1))
    order = np.arange(len(centers))
    near = np.abs(order[:, None] - order[None]) <= NEAR
    part = connected_components(near & (way <= np.maximum(LEAP * speed * gap, 0.5 * _median_depth(model))))[1]
    kept = part == np.bincount(part).argmax()
    return dataclasses.replace(model, frames=model.frames[kept], viewmats=model.viewmats[kept])


def _median_depth(model: Model) -> float:
    """Median depth of the points in front of the cameras, in the model's units; 1 without any."""
    depth = model.points @ model.viewmats[:, 2, :3].T + model.viewmats[:, 2, 3]
    return float(np.median(depth[depth > 0])) if (depth > 0).any() else 1.0


def _sharing_flows(scene: Scene, everything: Scene) -> Scene:
    """``scene`` with the flows between its training frames that were computed for ``everything``."""
    index = {frame.name: position for position, frame in enumerate(everything.frames)}
    scene._flows = Flows.of(everything).subset([index[frame.name] for frame in scene.split("train")])
    return scene


def _from_model(scene: Scene, frames: list, held_out: set[str], model: Model, agreement: float, by: str) -> Scene:
    centers = -np.einsum("fji,fj->fi", model.viewmats[:, :3, :3], model.viewmats[:, :3, 3])
    scale = DEPTH / max(_median_depth(model), 1e-6)
    origin = centers.mean(0)
    posed = []
    for index, viewmat in zip(model.frames, model.viewmats, strict=True):
        moved = viewmat.copy()
        moved[:3, 3] = scale * (viewmat[:3, :3] @ origin + viewmat[:3, 3])
        frame = frames[index]
        shape = (frame.camera.width, frame.camera.height)
        posed.append(frame.with_camera(Camera.checked(model.K, moved, *shape, source=frame.name)))
    points = PointCloud(
        torch.from_numpy((model.points - origin) * scale).float(), torch.from_numpy(model.colors).float()
    )
    looser = "" if model.attempt == 0 else f", with looser demands on parallax (attempt {model.attempt + 1} of "
    looser += f"{len(ATTEMPTS)}): depths are less certain" if looser else ""
    only, doubt = ("", "") if agreement >= AGREED else ("only ", ", so that depths of some frames may not fit others")
    note = (
        f"cameras: structure from motion registered {len(posed)} of {len(frames)} frames, "
        f"{len(points)} points by {by}, {model.error:.2f} px, "
        f"{only}{agreement:.0%} of the optical flow agrees{doubt}{looser}"
    )
    return _with(scene, posed, held_out, points, note)


@dataclasses.dataclass(frozen=True)
class Turned:
    """A camera in one place: ``viewmats`` [F, 4, 4] and ``K`` [3, 3] of ``fov`` degrees across, and what it does."""

    viewmats: np.ndarray
    K: np.ndarray
    fov: float
    kind: str


def _turned(flows: Flows, moving: np.ndarray) -> Turned:
    """The camera that turns in place as the still pixels flow, or, where not even that fits, one at rest."""
    height, width = flows.size
    forward = np.stack([flows.between(t, t + 1) for t in range(len(flows) - 1)])
    fov, K = FOVS[0], _intrinsics(FOVS[0], width, height)
    viewmats, error = turning_viewmats(forward, ~moving, K)
    if not error < 2.0:
        return Turned(np.tile(np.eye(4), (len(flows), 1, 1)), K, fov, "a camera at rest")
    threshold = BETTER * error
    for other in FOVS[1:]:
        turned, left = turning_viewmats(forward, ~moving, _intrinsics(other, width, height))
        if left < min(error, threshold):
            fov, K, viewmats, error = other, _intrinsics(other, width, height), turned, left
    return Turned(viewmats, K, fov, f"a camera that turns in place ({error:.2f} px)")


def _turning(scene: Scene, frames: list, held_out: set[str], moving: np.ndarray, turned: Turned, why: str) -> Scene:
    posed = [
        frame.with_camera(
            Camera.checked(turned.K, viewmat, frame.camera.width, frame.camera.height, source=frame.name)
        )
        for frame, viewmat in zip(frames, turned.viewmats, strict=True)
    ]
    note = (
        f"cameras: {why}; using {turned.kind}, with a field of view of {turned.fov:g} degrees and a nominal depth of "
        f"{DEPTH:g}: masks and 2D motion are meaningful, depths and views from elsewhere are not"
    )
    return _with(scene, posed, held_out, _backdrop(posed, moving), note)


def _intrinsics(fov: float, width: int, height: int) -> np.ndarray:
    focal = 0.5 * width / math.tan(math.radians(fov / 2))
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def _backdrop(frames: list, moving: np.ndarray) -> PointCloud:
    """The still pixels of every few frames, one in ``STRIDE`` each way, on a sphere of the nominal depth around the
    cameras: what there is to start from without parallax."""
    positions, colors = [], []
    for index in np.linspace(0, len(frames) - 1, min(8, len(frames))).round().astype(int):
        frame = frames[index]
        pixels = torch.from_numpy(pixel_grid(frame.camera.height, frame.camera.width))
        chosen = torch.zeros(pixels.shape[:2], dtype=torch.bool)
        chosen[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE] = True
        chosen &= torch.from_numpy(~moving[index])
        rays = frame.camera.unproject(pixels[chosen], torch.ones(int(chosen.sum()))) - frame.camera.center
        positions.append(frame.camera.center + DEPTH * torch.nn.functional.normalize(rays, dim=-1))
        colors.append(frame.image[chosen])
    return PointCloud(torch.cat(positions), torch.cat(colors))


def _with(scene: Scene, posed: list, held_out: set[str], points: PointCloud | None, note: str) -> Scene:
    train = [i for i, frame in enumerate(posed) if frame.name not in held_out]
    test = [i for i, frame in enumerate(posed) if frame.name in held_out]
    up = -np.mean([frame.camera.viewmat[1, :3].numpy() for frame in posed], 0)
    up = tuple(float(v) for v in up / max(np.linalg.norm(up), 1e-9))
    return dataclasses.replace(
        scene, frames=posed, train=train or test, test=test if train else [], points=points, up=up, posed=True,
        estimated=True, notes=[*scene.notes, note],
    )
