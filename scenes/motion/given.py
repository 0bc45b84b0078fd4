"""Optical flow and motion masks that a data set brings along: estimated beforehand, and taken as they are."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..files import BadInput
from ..scene import Frame

TO = {1: "flow_forward", -1: "flow_backward"}  # by the step that the flow takes


def given_pairs(frames: list[Frame]) -> dict[tuple[int, int], Frame]:
    """Neighbours (i, j) among a video's frames between which flow is given, and the frame that brings it.

    Flow counts with its validity: flow without one is the truth of a simulated world.
    """
    return {
        (index, index + step): frame
        for index, frame in enumerate(frames)
        for step, layer in TO.items()
        if 0 <= index + step < len(frames) and frame.has(layer) and frame.has(f"{layer}_valid")
    }


def given_flow(frame: Frame, step: int) -> np.ndarray:
    """Flow [H, W, 2] that ``frame`` brings along to the next (``step`` 1) or previous (-1) frame."""
    return as_large(frame, TO[step]).numpy()


def given_valid(frame: Frame, step: int) -> np.ndarray:
    """Where :func:`given_flow` is to be trusted, bool [H, W]."""
    return as_large(frame, f"{TO[step]}_valid").numpy()


def as_large(frame: Frame, layer: str) -> Tensor:
    """A layer of ``frame``; BadInput where it is not as large as the picture."""
    value, camera = getattr(frame, layer), frame.camera
    if value.shape[:2] != (camera.height, camera.width):
        raise BadInput(
            f"{frame.name}: {layer} is {value.shape[1]}x{value.shape[0]}, "
            f"expected {camera.width}x{camera.height} as its image"
        )
    return value
