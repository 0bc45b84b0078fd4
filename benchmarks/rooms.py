"""Simulated rooms as folders, each filmed once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from semaflow.scenes import Frame, simulate

LAYERS = ("image", "depth", "label", "instance")


def filmed(folder: Path, seeds: Iterable[int], **footage: int) -> list[Path]:
    """The rooms of ``seeds`` in ``folder``, a scene folder of each; ``footage`` (frames, test, width, height) as of
    :func:`semaflow.scenes.simulate`."""
    name = "x".join(map(str, footage.values()))
    made = []
    for seed in seeds:
        made.append(folder / name / f"room {seed}")
        if not made[-1].exists():
            scene = simulate("rooms", seed=seed, **footage)
            frames = [
                Frame(frame.name, frame.camera, frame.time, **{layer: getattr(frame, layer) for layer in LAYERS})
                for frame in scene.frames
            ]
            replace(scene, frames=frames, tracks=None).save(made[-1])
    return made
