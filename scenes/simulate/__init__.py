"""Simulated worlds: moving bodies filmed by ray casting, and the truth of each pixel and point."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

from ..files import BadInput
from ..scene import Scene

if TYPE_CHECKING:
    from .worlds import World

__all__ = ["simulate", "world"]


def world(name: str, seed: int = 0) -> World:
    """The world ``balls``, ``walker``, ``flag``, ``twins`` or ``rooms``; :class:`BadInput` for any other."""
    from .catalogue import WORLDS  # Warp and trimesh take a second to import

    if name not in WORLDS:
        raise BadInput(f"simulate: expected one of {', '.join(WORLDS)}, got {name!r}")
    return WORLDS[name](seed)


def simulate(
    name: str | World,
    frames: int | None = None,
    width: int | None = None,
    height: int | None = None,
    seed: int = 0,
    samples: int = 2,
    teacher: str = "patch",
    feature_dim: int = 32,
    feature_noise: float = 0.2,
    test: int | None = None,
    without: str | None = None,
) -> Scene:
    """A monocular hand-held video of a simulated world, with held-out views and all truth.

    The world runs over normalised time 0..1; training frame i is taken at ``i / (frames - 1)``.
    Test cameras stand beside the path; half of them at the time of a training frame, half between
    two. Layers are computed when they are first asked for.

    Args:
        name: ``balls``, ``walker``, ``flag``, ``twins``, ``rooms`` (a furnished room, another for each
            seed), or a :class:`World`, edited perhaps.
        frames, test: how many training and test frames; by default 48 and 16 (rooms: 30 and 8).
        width, height: image size in pixels, by default 240x135 (rooms: 160x120).
        seed: of textures, the hand's shake and features, and of which room; a :class:`World` brings its own.
        samples: rays per pixel and axis.
        teacher: ``patch`` (a cell per 14 pixels) or ``dense``; see :class:`.teacher.Embeddings`.
        feature_dim, feature_noise: length of a feature, and of its noise against a clean feature of
            length 1.
        without: name of a body to leave out; the rest is as it would be with it.

    Raises:
        BadInput: no such world, body or teacher, or fewer than two frames.
    """
    from .cameras import held_out_times
    from .teacher import Embeddings
    from .tracks import tracks

    filmed = world(name, seed) if isinstance(name, str) else name
    if without is not None:
        filmed = filmed.without(without)
    frames, test, width, height = (
        usual if asked is None else asked
        for asked, usual in zip((frames, test, width, height), astuple(filmed.footage), strict=True)
    )
    if frames < 2 or test < 0:
        raise BadInput(f"simulate: expected frames >= 2 and test >= 0, got {frames}, {test}")
    embeddings = Embeddings(tuple(filmed.looks), teacher, feature_dim, feature_noise, filmed.seed)
    walk = filmed.walk

    times = [index / (frames - 1) for index in range(frames)]
    cameras = [walk.camera(time, width, height) for time in times]
    training = filmed.film(cameras, times, samples=samples, teacher=embeddings)

    held_out = held_out_times(test, frames)
    views = [walk.novel(index, time, width, height) for index, time in enumerate(held_out)]
    names = [f"{frames + index:04d}" for index in range(test)]
    testing = filmed.film(
        views, held_out, names=names, samples=samples, flow=False, teacher=embeddings
    )

    return Scene(
        filmed.name,
        training + testing,
        train=list(range(frames)),
        test=list(range(frames, frames + test)),
        tracks=tracks(filmed, cameras, times),
        label_names=list(filmed.labels),
        part_names=list(filmed.parts),
        format="simulated",
    )
