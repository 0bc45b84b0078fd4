"""Render a run along a camera path: colour, depth, features, semantics, labels."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ..fields.gaussians.state import GaussianState
from ..scenes import BadInput, Camera, Scene
from ..scenes.teachers.pca import pca_colors
from .paths import camera_path
from .pictures import (
    PALETTE,
    depth_colors,
    depth_range,
    label_colors,
    overlay,
    to_bytes,
    write_image,
)
from .progress import bar, console
from .selection import Selection

CHANNELS = ("rgb", "depth", "features", "semantics", "labels")


class Painter:
    """Draws a field's channels as pictures, with the same colours in every picture.

    Args:
        field: the field.
        objects: selections that the channel ``semantics`` shows, each in its colour.
    """

    def __init__(self, field, objects: Sequence[Selection] = ()):
        self.field, self.objects = field, list(objects)
        self.depth_range: tuple[float, float] | None = None

    @torch.no_grad()
    def paint(self, state: GaussianState, camera: Camera, channels: Sequence[str]) -> dict[str, Tensor]:
        """Channels of ``state`` seen by ``camera`` as images [H, W, 3] in 0..1, all composited in one pass."""
        for channel in channels:
            if channel not in CHANNELS:
                raise BadInput(f"channels: expected {', '.join(CHANNELS)}, got {channel!r}")
        drawn, values = [], {}
        if "rgb" in channels or "semantics" in channels:
            drawn.append("color")
        if "depth" in channels:
            drawn.append("depth")
        if "labels" in channels:
            drawn.append("logits")
        if "features" in channels:
            values["features"] = self.feature_colors
        if "semantics" in channels:
            values["semantics"] = self._selected().to(state.means)
        together = torch.cat(list(values.values()), -1) if values else None
        seen = state.render(camera, drawn, together)
        color = None if seen.color is None else seen.color.cpu().clamp(0, 1)
        if values:
            parts = seen.values.cpu().split([part.shape[-1] for part in values.values()], -1)
            values = dict(zip(values, parts, strict=True))
        painted = {}
        for channel in channels:
            if channel == "rgb":
                painted[channel] = color
            elif channel == "depth":
                depth = seen.depth.cpu()
                self.depth_range = self.depth_range or depth_range([depth])
                painted[channel] = depth_colors(depth, *self.depth_range)
            elif channel == "features":
                painted[channel] = values[channel].clamp(0, 1)
            elif channel == "labels":
                painted[channel] = label_colors(seen.labels)
            else:
                painted[channel] = objects_in_color(color, values[channel])
        return painted

    @cached_property
    def feature_colors(self) -> Tensor:
        """Principal components of the Gaussians' features as colours [N, 3]."""
        features = self.field.semantics()
        if features is None:
            raise BadInput("features: the field has no semantics; fit it with a teacher")
        return pca_colors(torch.nn.functional.normalize(features, dim=-1))[0]

    def _selected(self) -> Tensor:
        if not self.objects:
            raise BadInput("semantics: the run has no objects yet; name one with semaflow select")
        return torch.stack([chosen.selected for chosen in self.objects], 1)


def objects_in_color(image: Tensor, masks: Tensor) -> Tensor:
    """A picture [H, W, 3] in grey, darker where no object is, with soft masks [H, W, M] of objects in colours."""
    image = image.mean(-1, keepdim=True).expand(-1, -1, 3)
    strongest, index = masks.max(-1)
    shown = image * 0.6
    for number in index[strongest > 0.5].unique().tolist():
        color = PALETTE[number % len(PALETTE)]
        mine = (index == number) & (strongest > 0.5)
        shown = torch.where(mine[..., None], overlay(image, mine, color), shown)
    return shown


@torch.no_grad()
def looked_at(field, scene: Scene) -> Tensor:
    """The point [3] in the middle of the middle training frame, at the median depth around it."""
    frames = scene.split("train")
    middle = frames[len(frames) // 2]
    depth = field.render(middle.camera, middle.time, channels=("depth",)).depth.cpu()
    height, width = depth.shape
    inner = depth[height // 4 : -(height // 4) or None, width // 4 : -(width // 4) or None]
    seen = inner[inner > 0]
    if len(seen) == 0:
        raise BadInput("orbit: the field shows nothing to the middle camera")
    center = torch.tensor([width / 2, height / 2])
    return middle.camera.unproject(center, seen.median())


@torch.no_grad()
def render(
    run,
    path: str = "orbit",
    channels: Sequence[str] = ("rgb",),
    frames: int = 48,
    width: int | None = None,
    output: str | Path | None = None,
) -> Path:
    """Render a run along a path; each channel becomes numbered PNGs and a video.

    Args:
        run: an open ``Run``.
        path: ``orbit``, ``train``, ``test``, or a JSON file as :func:`.paths.read_path` takes it.
        channels: among rgb, depth, features (principal components), semantics (objects coloured),
            labels (classes coloured).
        frames: length of the orbit.
        width: of the pictures in pixels; None as the cameras are.
        output: folder; None means ``renders/NAME OF PATH`` in the run.

    Returns:
        The folder, holding ``CHANNEL/00000.png...`` and ``CHANNEL.mp4``.
    """
    from ..scenes.video import write_video

    unknown = set(channels) - set(CHANNELS)
    if unknown or not channels:
        raise BadInput(
            f"channels: expected {', '.join(CHANNELS)}, got {', '.join(sorted(unknown)) or 'none'}"
        )
    field, scene = run.field, run.scene
    focus = looked_at(field, scene) if path == "orbit" else torch.zeros(3)
    views = camera_path(path, scene, focus, frames)
    if width is not None:
        views = [(_wide(camera, width), time) for camera, time in views]
    output = run.folder / "renders" / Path(path).stem if output is None else Path(output)
    painter = Painter(field, [run.object(name) for name in run.objects()])
    videos: dict[str, list] = {channel: [] for channel in channels}
    with bar() as progress:
        task = progress.add_task("render", total=len(views), note="")
        for index, (camera, time) in enumerate(progress.track(views, task_id=task)):
            state = field.at(time)
            for channel, image in painter.paint(state, camera, channels).items():
                write_image(output / channel / f"{index:05d}.png", image)
                videos[channel].append(to_bytes(image))
    for channel, images in videos.items():
        if len({image.shape for image in images}) == 1:  # a path may mix cameras of several sizes
            write_video(output / f"{channel}.mp4", images, scene.frame_rate)
    return output


def _wide(camera: Camera, width: int) -> Camera:
    if width < 1:
        raise BadInput(f"width: expected at least 1 pixel, got {width}")
    return camera.resized(width, max(1, round(camera.height * width / camera.width)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``semaflow render``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument(
        "--path", default="orbit", metavar="PATH", help="orbit, train, test or CAMERAS.json"
    )
    parser.add_argument("--channels", default="rgb", help="comma separated: " + ",".join(CHANNELS))
    parser.add_argument("--frames", type=int, default=48, help="length of the orbit")
    parser.add_argument("--width", type=int, help="pixels; as the cameras are if absent")
    parser.add_argument("-o", "--output", type=Path, help="folder; RUN/renders/PATH if absent")


def run(args: argparse.Namespace) -> None:
    """``semaflow render``."""
    from .run import Run

    channels = [channel.strip() for channel in args.channels.split(",") if channel.strip()]
    output = render(Run.open(args.run), args.path, channels, args.frames, args.width, args.output)
    console.print(f"written: {output}", highlight=False, markup=False, soft_wrap=True)
