"""Pictures of objects and their trajectories, without a display."""

from __future__ import annotations

from pathlib import Path

from .backend import start
from .layers import Layers
from .viewer import Look, Viewer


def trajectory_screenshot(
    layers: Layers, path: str | Path, time: float | None = None, size: tuple[int, int] = (1280, 720)
) -> None:
    """Write a PNG of the 3D trajectories of the layers' objects, in their colours, over the scene's points.

    Args:
        time: what moment to show, with the trajectories up to it; None: the last.
        size: width and height in pixels.

    Raises NoViewer, a BadInput, when there is no polyscope or EGL to draw with.
    """
    ps = start("offscreen", *size)
    ps.set_SSAA_factor(2)
    time = layers.scene.times[-1] if time is None else time
    # Dots, not spheres; larger ones where they are few, so that the scene can still be made out.
    largest = min(0.0035, 0.0025 * (20_000 / max(1, layers.field.count)) ** 0.5)
    look = Look(time, dim=0.5, largest=largest, cameras=False)
    Viewer(ps, layers, look).screenshot(path)
