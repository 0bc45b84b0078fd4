"""Pictures of objects and their trajectories, without a display."""

from __future__ import annotations

from pathlib import Path

from ...scenes import Scene
from ..selection import Selection
from .backend import start
from .layers import Layers
from .viewer import Look, Viewer


def trajectory_screenshot(
    field, scene: Scene, selections: list[Selection], path: str | Path, count: int = 200,
    time: float | None = None, size: tuple[int, int] = (1280, 720),
) -> None:
    """Write a PNG of the objects' 3D trajectories, coloured by semantics, over the scene's points.

    Args:
        field: a ``GaussianField``.
        count: trajectories at most, over all objects.
        time: what moment to show, with the trajectories up to it; None: the last.
        size: width and height in pixels.

    Raises NoViewer, a BadInput, when there is no polyscope or EGL to draw with.
    """
    ps = start("offscreen", *size)
    ps.set_SSAA_factor(2)
    layers = Layers(field, scene, selections, count)
    time = scene.times[-1] if time is None else time
    # Dots, not spheres; larger ones where they are few, so that the scene can still be made out.
    largest = min(0.0035, 0.0025 * (20_000 / max(1, field.count)) ** 0.5)
    look = Look(time, dim=0.5, largest=largest, cameras=False)
    Viewer(ps, layers, look).screenshot(path)
