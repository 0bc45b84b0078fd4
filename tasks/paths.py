"""Camera paths: training and test cameras, an orbit around what was filmed, or one from a file."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..scenes import BadInput, Camera, Scene
from ..scenes.files import read_json

CameraPath = list[tuple[Camera, float]]  # cameras and times, in the order of the video

SWAY = 20.0  # degrees to either side, where the cameras saw the scene from one side only
AROUND = 150.0  # degrees of azimuth that cameras must cover for a full turn to be worth showing


def camera_path(name: str, scene: Scene, focus: Tensor, frames: int = 48) -> CameraPath:
    """Cameras and times of the path ``orbit``, ``train``, ``test`` or of a JSON file.

    Args:
        focus: point [3] that the orbit looks at.
        frames: length of the orbit.
    """
    if name in ("train", "test"):
        path = [(frame.camera, frame.time) for frame in scene.split(name)]
        if not path:
            raise BadInput(f"path: the scene has no {name} frames")
        return path
    if name == "orbit":
        return orbit(scene, focus, frames)
    return read_path(name)


def orbit(scene: Scene, focus: Tensor, frames: int = 48) -> CameraPath:
    """A way around the point ``focus`` [3] while time runs from 0 to 1 once.

    A full turn where the training cameras saw the scene from around, else a sway over the side that
    they saw: behind it there is nothing to show. Distance and height are the cameras' own.
    """
    if frames < 1:
        raise BadInput(f"frames: expected at least 1, got {frames}")
    cameras = scene.cameras
    focus, up = focus.double(), upward(scene)
    arms = torch.stack([camera.center for camera in cameras]).double() - focus
    height = (arms @ up).median()
    flat = arms - (arms @ up)[:, None] * up
    reach = flat.norm(dim=-1).median()
    ahead = flat[len(flat) // 2]
    if ahead.norm() < 1e-6 * arms.norm(dim=-1).max():
        raise BadInput("orbit: the middle camera looks straight down, there is no way around")
    ahead = ahead / ahead.norm()
    side = torch.linalg.cross(up, ahead)
    azimuth = torch.atan2(flat @ side, flat @ ahead)
    covered = math.degrees((azimuth.max() - azimuth.min()).item())
    full = covered > AROUND
    path = []
    for index in range(frames):
        phase = 2 * math.pi * index / frames
        angle = phase if full else math.radians(SWAY) * math.sin(phase)
        eye = focus + reach * (ahead * math.cos(angle) + side * math.sin(angle)) + height * up
        seen = Camera.look_at(eye, focus, cameras[0].width, cameras[0].height, up=up)
        path.append((replace(seen, K=cameras[0].K.float()), index / max(1, frames - 1)))
    return path


def upward(scene: Scene) -> Tensor:
    """Unit direction [3] that points up: the scene's, unless its cameras say otherwise."""
    stated = torch.nn.functional.normalize(torch.tensor(scene.up).double(), dim=0)
    of_images = -torch.stack([camera.viewmat[1, :3] for camera in scene.cameras]).double().mean(0)
    of_images = torch.nn.functional.normalize(of_images, dim=0)
    return stated if stated @ of_images > math.cos(math.radians(60)) else of_images


def read_path(file: str | Path) -> CameraPath:
    """A path from JSON: ``{"cameras": [{"K", "viewmat", "width", "height", "time"}, ...]}``.

    ``K`` is 3x3 in pixels, ``viewmat`` world-to-camera 4x4 (OpenCV), ``time`` 0..1.
    """
    values = read_json(file)
    entries = values.get("cameras") if isinstance(values, dict) else None
    if not isinstance(entries, list) or not entries:
        raise BadInput(f"{file}: cameras: expected a list of at least one camera")
    path = []
    for index, entry in enumerate(entries):
        source = f"{file}: cameras[{index}]"
        try:
            time = float(entry["time"])
            camera = Camera.checked(
                entry["K"], entry["viewmat"], int(entry["width"]), int(entry["height"]), source
            )
        except KeyError as error:
            raise BadInput(f"{source}: {error.args[0]}: missing") from error
        except (TypeError, ValueError) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(f"{source}: expected numbers ({error})") from error
        if not 0 <= time <= 1:
            raise BadInput(f"{source}: time: expected 0 to 1, got {time:g}")
        path.append((camera, time))
    return path
