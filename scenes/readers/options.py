"""Options that every format shares: which frames to take, how large, and which to hold out."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from ..files import BadInput
from ..layers import resample
from ..scene import Frame, Scene, Tracks

HOLDOUT = 8  # every 8th frame is a test frame where a data set has none of its own


def whole(name: str, value, least: int) -> int:
    """``value`` as a whole number of at least ``least``; BadInput naming the option."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadInput(f"{name}: expected a whole number of at least {least}, got {value!r}")
    return value


def chosen(
    count: int,
    start: int = 0,
    end: int | None = None,
    every: int = 1,
    max_frames: int | None = None,
) -> list[int]:
    """Which of ``count`` frames to take: every ``every``-th from ``start`` to before ``end``.

    Where more than ``max_frames`` remain, the step grows until they fit. Raises BadInput where none
    is left.
    """
    start, every = whole("start", start, 0), whole("every", every, 1)
    end = count if end is None else min(count, whole("end", end, 1))
    if max_frames is not None:
        every *= max(
            1, math.ceil(len(range(start, end, every)) / whole("max_frames", max_frames, 1))
        )
    indices = list(range(start, end, every))
    if not indices:
        raise BadInput(f"start, end: no frame of {count} lies in {start}..{end}")
    return indices


def target_size(
    width: int, height: int, max_width: int | None, scale: float | None
) -> tuple[int, int]:
    """Width and height shrunk by ``scale`` (at most 1) and then to at most ``max_width``."""
    factor = 1.0
    if scale is not None:
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale <= 1:
            raise BadInput(f"scale: expected a number above 0 and at most 1, got {scale!r}")
        factor = float(scale)
    if max_width is not None:
        factor = min(factor, whole("max_width", max_width, 1) / width)
    return max(1, round(width * factor)), max(1, round(height * factor))


def resized(scene: Scene, max_width: int | None = None, scale: float | None = None) -> Scene:
    """``scene`` with smaller images, cameras to match."""
    return replace(scene, frames=[_resized(frame, max_width, scale) for frame in scene.frames])


def _resized(frame: Frame, max_width: int | None, scale: float | None) -> Frame:
    camera = frame.camera
    size = target_size(camera.width, camera.height, max_width, scale)
    if size == (camera.width, camera.height):
        return frame
    large = frame.with_layers()
    large.keep = False  # only the small layers stay in memory
    layers = {
        layer: partial(_small, large, layer, size) for layer in Frame.LAYERS if frame.has(layer)
    }
    return Frame(frame.name, camera.resized(*size), frame.time, frame.keep, **layers)


def _small(frame: Frame, layer: str, size: tuple[int, int]):
    return resample(layer, getattr(frame, layer), *size)


def trimmed(
    scene: Scene,
    start: int = 0,
    end: int | None = None,
    every: int = 1,
    max_frames: int | None = None,
    holdout: int | None = None,
    static: bool = False,
) -> Scene:
    """``scene`` with some of its training frames.

    Times are normalised over the frames taken; test frames before or after them are left out.
    ``holdout`` = n makes the frames n, 2n... of them (counted from 0, the last one excepted) test
    frames; 0 none; by default every 8th where the scene has no test frames of its own. ``static``:
    all times are 0, for a world that stands still.
    """
    taken = [
        scene.train[index] for index in chosen(len(scene.train), start, end, every, max_frames)
    ]
    step = 1 if len(taken) == 1 else scene.train.index(taken[1]) - scene.train.index(taken[0])
    tested = list(scene.test)
    first, last = scene.frames[taken[0]].time, scene.frames[taken[-1]].time
    if len(taken) < len(scene.train):
        tested = [index for index in tested if first <= scene.frames[index].time <= last]

    n = whole("holdout", (0 if scene.test else HOLDOUT) if holdout is None else holdout, 0)
    if n == 1:
        raise BadInput(
            "holdout: expected 0 or at least 2, got 1: no frame would be left to train on"
        )
    held = set(taken[n:-1:n]) if n else set()
    trained = [index for index in taken if index not in held]
    tested = sorted(held) + tested
    if len(trained) == len(scene.train) and not static:
        return scene

    def timed(frame: Frame) -> Frame:
        if len(taken) == len(scene.train) and not static:
            return frame
        changed = frame.with_layers()
        changed.time = 0.0 if static or last <= first else (frame.time - first) / (last - first)
        return changed

    frames = {index: timed(scene.frames[index]) for index in trained + tested}
    _cut_flow(scene, frames, trained)
    place = {index: position for position, index in enumerate(frames)}
    positions = [scene.train.index(index) for index in trained]
    return replace(
        scene,
        frames=list(frames.values()),
        train=[place[index] for index in trained],
        test=[place[index] for index in tested],
        tracks=_tracks(scene.tracks, positions, [frames[index].time for index in trained]),
        frame_rate=scene.frame_rate / step,
    )


def _cut_flow(scene: Scene, frames: dict[int, Frame], trained: list[int]) -> None:
    """Drop flow to and from frames that do not train: flow leads to the video's next frame."""
    order = scene.train
    neighbours = set(zip(trained, trained[1:], strict=False))
    for before, after in zip(order, order[1:], strict=False):
        if (before, after) not in neighbours:
            for index, layer in ((before, "flow_forward"), (after, "flow_backward")):
                if index in frames:
                    cut = {layer: None, f"{layer}_valid": None}
                    frames[index] = frames[index].with_layers(**cut)


def _tracks(tracks: Tracks | None, positions: list[int], times: list[float]) -> Tracks | None:
    if tracks is None:
        return None
    return replace(
        tracks,
        positions=tracks.positions[:, positions],
        visible=tracks.visible[:, positions],
        times=tracks.times.new_tensor(times),
    )
