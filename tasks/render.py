"""Render a run along a camera path: colour, depth, features, classes, objects, correspondence."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..scenes import BadInput, Camera, Scene
from .painters import CHANNELS, painter
from .paths import camera_path
from .pictures import to_bytes, write_image
from .progress import bar, console


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
    clip: str | None = None,
) -> Path:
    """Render a run along a path; each channel becomes numbered PNGs and a video.

    Args:
        run: an open ``Run``.
        path: ``orbit``, ``train``, ``test``, or a JSON file as :func:`.paths.read_path` takes it.
        channels: among ``CHANNELS``, which says what each shows.
        frames: length of the orbit.
        width: of the pictures in pixels; None as the cameras are.
        output: folder; None means ``renders/NAME OF PATH`` in the run, ``renders/CLIP/NAME OF PATH`` of a ``clip``.
        clip: name of one of the videos of a run of several; None: the first.

    Returns:
        The folder, holding ``CHANNEL/00000.png...`` and ``CHANNEL.mp4``.
    """
    from ..scenes.video import write_video

    field, scene = run.clip(clip)
    drawer = painter(field, scene, [run.object(name) for name in run.objects()])
    drawer.check(channels)
    focus = looked_at(field, scene) if path == "orbit" else torch.zeros(3)
    views = camera_path(path, scene, focus, frames)
    if width is not None:
        views = [(_wide(camera, width), time) for camera, time in views]
    output = run.folder / "renders" / (clip or "") / Path(path).stem if output is None else Path(output)
    videos: dict[str, list] = {channel: [] for channel in channels}
    with bar() as progress:
        task = progress.add_task("render", total=len(views), note="")
        for index, (camera, time) in enumerate(progress.track(views, task_id=task)):
            state = field.at(time)
            for channel, image in drawer.paint(state, camera, channels).items():
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
    shows = "; ".join(f"{name}: {what}" for name, what in CHANNELS.items())
    parser.add_argument("--channels", default="rgb", help=f"comma separated, of which {shows}")
    parser.add_argument("--frames", type=int, default=48, help="length of the orbit")
    parser.add_argument("--width", type=int, help="pixels; as the cameras are if absent")
    parser.add_argument("--clip", metavar="NAME", help="which video of a run of several; the first if absent")
    parser.add_argument("-o", "--output", type=Path, help="folder; RUN/renders/PATH if absent")


def run(args: argparse.Namespace) -> None:
    """``semaflow render``."""
    from .run import Run

    channels = [channel.strip() for channel in args.channels.split(",") if channel.strip()]
    output = render(Run.open(args.run), args.path, channels, args.frames, args.width, args.output, args.clip)
    console.print(f"written: {output}", highlight=False, markup=False, soft_wrap=True)
