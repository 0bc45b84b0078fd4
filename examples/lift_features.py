"""Lift 2D features onto Gaussians without training, and ask which Gaussians a pixel shows.

A simulated world stands still while eight cameras film it, and depth makes it Gaussians. uplift
averages a teacher's coarse maps over the pixels of each Gaussian, weighted as they were drawn;
contributors tells the strongest Gaussians of each pixel. Together they turn a click in one view
into a mask of another view that nobody labelled, sharper than the teacher's 14-pixel cells.

    python examples/lift_features.py

Writes lifted.png (new view | its lifted features | what is like the click) and checks the mask.
"""

import argparse
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from semaflow.fields.metrics import jaccard
from semaflow.kernels.splat import contributors, uplift
from semaflow.scenes import Frame, simulate
from semaflow.scenes.images import write_image
from semaflow.scenes.simulate import world
from semaflow.scenes.simulate.teacher import Embeddings
from semaflow.scenes.teachers.pca import pca_colors

WIDTH, HEIGHT, MOMENT = 240, 135, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="folder; a temporary one if absent")
    folder = parser.parse_args().output or Path(tempfile.mkdtemp(prefix="semaflow-"))

    balls = world("balls")
    cameras = simulate(balls, frames=17, width=WIDTH, height=HEIGHT, test=0).cameras
    frames = balls.film(cameras[::2], [MOMENT] * 9, teacher=Embeddings(tuple(balls.looks)))
    new = frames.pop(4)
    gaussians = from_depth(frames)

    maps = torch.stack([enlarged(frame.features) for frame in frames])
    views = torch.stack([frame.camera.viewmat for frame in frames])
    Ks = torch.stack([frame.camera.K for frame in frames])
    features, weights = uplift(*gaussians, maps, views, Ks)
    print(f"{(weights > 0).sum()} of {len(weights)} Gaussians got a feature from {len(maps)} views")

    clicked = frames[0]
    ball = balls.labels.index("red ball")
    inner = F.avg_pool2d((clicked.label == ball)[None].float(), 9, 1, 4)[0]
    y, x = divmod(int(inner.argmax()), WIDTH)
    query = features[strongest(gaussians, clicked)[y, x]]
    shown = strongest(gaussians, new)
    seen = torch.where(shown[..., None] >= 0, features[shown], 0.0)
    likeness = F.cosine_similarity(seen, query, dim=-1).clamp(min=0)
    print(f"clicked at {x},{y} of another view")

    colors, _ = pca_colors(seen)
    gray = likeness[..., None].expand(-1, -1, 3)
    pixels = torch.cat([new.image, colors, gray], 1).mul(255).round().byte().numpy()
    write_image(folder / "lifted.png", pixels)
    print(f"wrote {folder / 'lifted.png'}")
    check(likeness, new, ball, query)


def from_depth(frames: list[Frame]) -> tuple[torch.Tensor, ...]:
    """Means, quaternions, scales and opacities of a Gaussian for every second pixel that hits."""
    means, scales = [], []
    for frame in frames:
        rows, columns = (frame.depth[::2, ::2] > 0).nonzero().T * 2
        depth = frame.depth[rows, columns]
        means.append(frame.camera.unproject(torch.stack([columns, rows], -1) + 0.5, depth))
        scales.append(depth / frame.camera.K[0, 0])
    means, scales = torch.cat(means), torch.cat(scales)[:, None].expand(-1, 3).contiguous()
    quats = torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(len(means), 1)
    return means, quats, scales, torch.full((len(means),), 0.9)


def enlarged(cells: torch.Tensor) -> torch.Tensor:
    """A map [h, w, D] over the whole picture at the picture's size."""
    channels = cells.permute(2, 0, 1)[None]
    return F.interpolate(channels, (HEIGHT, WIDTH), mode="nearest")[0].permute(1, 2, 0)


def strongest(gaussians: tuple, frame: Frame) -> torch.Tensor:
    """The Gaussian that weighs most in each pixel [H, W], -1 where there is none."""
    camera = frame.camera
    ids, _ = contributors(*gaussians, camera.viewmat[None], camera.K[None], WIDTH, HEIGHT)
    return ids[0, ..., 0]


def check(likeness: torch.Tensor, frame: Frame, ball: int, query: torch.Tensor) -> None:
    """The mask of the new view must fit the ball, better than the teacher's own map of that view."""
    truth = frame.label == ball
    alone = F.cosine_similarity(enlarged(frame.features), query, dim=-1)
    lifted, flat = (jaccard(values > 0.7, truth) for values in (likeness, alone))
    print(f"IoU with the ball in the new view: lifted {lifted:.3f}, its own 2D map {flat:.3f}")
    assert lifted > 0.75, "the lifted features do not find the ball"
    assert lifted > flat, "lifting adds nothing to the teacher"


if __name__ == "__main__":
    main()
