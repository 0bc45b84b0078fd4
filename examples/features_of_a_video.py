"""Features of a video: what a teacher sees in each frame, and what is like a clicked thing.

A teacher describes every part of a frame by a vector. Here the maps of all frames are computed
(and kept on disk for the next time), shown in colours by their three principal components, and
compared with the place of a click in the first frame. Colours and likeness follow the thing
through the video although each frame was looked at alone: this is what a field learns in 3D.

    python examples/features_of_a_video.py
    python examples/features_of_a_video.py my.mp4 --teacher dinov2 --click 320,180

The first films a simulated world and takes the classical teacher, which needs no network.
Writes features.png (frames | features | likeness) and, where the truth is known, checks itself.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from semaflow.scenes import load, simulate
from semaflow.scenes.files import replacing
from semaflow.scenes.teachers import feature_maps, teacher
from semaflow.scenes.teachers.pca import pca_colors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", nargs="?", help="video or scene folder; else a simulated world")
    parser.add_argument("--teacher", default="classical", help="name, folder, hub id or maps")
    parser.add_argument("--click", help="x,y in the first frame")
    parser.add_argument("-o", "--output", type=Path, default=Path("features"), help="folder")
    options = parser.parse_args()

    scene = load(options.video) if options.video else simulate("balls", frames=12, test=0)
    frames = scene.split("train")
    maps = feature_maps(frames, teacher(options.teacher), options.output / "maps")
    features = torch.stack(list(maps))  # [T, h, w, D]
    count, rows, columns, dim = features.shape
    print(f"{count} maps of {columns}x{rows} cells, {dim} numbers each")

    x, y = clicked(options.click, scene, frames[0])
    likeness = compared(features, x / frames[0].camera.width, y / frames[0].camera.height)
    colors, _ = pca_colors(features)
    sheet(options.output / "features.png", [frame.image for frame in frames], colors, likeness)
    print(f"click at {x},{y}; wrote {options.output / 'features.png'}")

    if frames[0].has("instance"):
        check(frames, likeness, frames[0].instance[y, x])


def clicked(click: str | None, scene, frame) -> tuple[int, int]:
    """The pixel of the click; without one, well inside the red ball, or the picture's middle."""
    if click:
        x, y = click.split(",")
        return int(x), int(y)
    if "red ball" not in scene.label_names:
        return frame.camera.width // 2, frame.camera.height // 2
    ball = frame.label == scene.label_names.index("red ball")
    inner = F.avg_pool2d(ball[None].float(), 15, 1, 7)[0]
    y, x = divmod(int(inner.argmax()), frame.camera.width)
    return x, y


def compared(features: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """Cosine [T, h, w] with the clicked cell, after the video's mean is taken off.

    All cells share much of their features; what tells things apart is what is left.
    """
    rows, columns = features.shape[1:3]
    centred = features - features.mean((0, 1, 2))
    query = centred[0, int(y * rows), int(x * columns)]
    return F.cosine_similarity(centred, query, dim=-1)


def sheet(path: Path, images: list, colors: torch.Tensor, likeness: torch.Tensor) -> None:
    """Four moments side by side: the frame, its features, its likeness to the click."""
    shown = torch.linspace(0, len(images) - 1, min(4, len(images))).round().int().tolist()
    height, width = images[0].shape[:2]
    gray = likeness.clamp(0, 1)[..., None].expand(-1, -1, -1, 3)
    columns = []
    for index in shown:
        stack = [images[index]]
        for layer in (colors[index], gray[index]):
            enlarged = F.interpolate(layer.permute(2, 0, 1)[None], (height, width), mode="nearest")
            stack.append(enlarged[0].permute(1, 2, 0))
        columns.append(torch.cat(stack, 0))
    pixels = (torch.cat(columns, 1) * 255).round().byte().numpy()
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary)


def check(frames: list, likeness: torch.Tensor, instance: torch.Tensor) -> None:
    """A place on the clicked thing must be more like the click than a place elsewhere."""
    on, off = [], []
    for frame, values in zip(frames, likeness, strict=True):
        thing = (frame.instance == instance).float()[None, None]
        share = F.interpolate(thing, values.shape, mode="area")[0, 0]
        on.append(values[share > 0.9])
        off.append(values[share < 0.1])
    on, off = torch.cat(on), torch.cat(off)
    won = (on[:, None] > off[torch.randperm(len(off))[:2000]]).float().mean().item()
    print(f"a place on the thing is more like the click than one elsewhere in {won:.1%} of pairs")
    assert won > 0.9, "the features do not tell the clicked thing from the rest"


if __name__ == "__main__":
    main()
