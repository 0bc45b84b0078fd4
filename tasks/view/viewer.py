"""The viewer: keeps polyscope's structures in step with what is to be shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from ...scenes import Camera
from ...scenes.files import replacing
from ..selection import Selection
from . import draw
from .framing import overview
from .layers import Layers

POINTS = "points"
RENDER_WIDTH = 320  # pixels; the field is rendered anew for every view and time


@dataclass
class Look:
    """What is shown and how; the panel changes it, :meth:`Viewer.update` makes it so."""

    time: float = 0.0
    coloring: str = "color"
    opacity: float = 0.1  # Gaussians below are left out
    size: float = 1.0  # spheres in standard deviations
    largest: float = 0.012  # radius of a sphere at most, as a share of the distance looked from
    dim: float = 0.0  # how pale everything is that belongs to no object, 0..1
    points: bool = True
    cameras: bool = True
    render: bool = False
    hidden: set[str] = field(default_factory=set)  # objects without trajectories


class Viewer:
    """Layers shown by polyscope.

    Args:
        ps: polyscope, initialised (see :mod:`.backend`).
        layers: what there is to show.
        look: how to begin.
    """

    def __init__(self, ps: ModuleType, layers: Layers, look: Look | None = None):
        self.ps, self.layers, self.look = ps, layers, look or Look(layers.scene.times[0])
        self._sent: dict[str, object] = {}
        self._ids: dict[str, torch.Tensor] = {}  # Gaussians behind a structure's elements
        points = layers.points(self.look.time, opacity=self.look.opacity)
        low, high = draw.robust_box(points.positions)
        # polyscope's own extents would follow the farthest floater.
        ps.set_automatically_compute_scene_extents(False)
        ps.set_length_scale((high - low).norm().item())
        ps.set_bounding_box(low.tolist(), high.tolist())
        ps.set_up_dir(nearest_axis(layers.scene.up))
        # Thickness of everything follows the distance it is first looked at from.
        self.distance = self.look_over()
        self.update()

    def update(self) -> None:
        """Show what :attr:`look` and the layers' objects ask for; only what changed is sent on."""
        look = self.look
        cuts = self.layers.cuts()
        wanted = (look.time, look.coloring, look.opacity, look.size, look.dim, look.points)
        if self._changed(POINTS, (*wanted, cuts.get(look.coloring), look.dim and cuts)):
            points = self.layers.points(look.time, look.coloring, look.opacity, look.dim)
            draw.draw_points(
                self.ps, POINTS, points, look.size, look.largest * self.distance
            )
            self.ps.get_point_cloud(POINTS).set_enabled(look.points)
            self._ids[POINTS] = points.ids
        for name, cut in cuts.items():
            if self._changed(name, (look.time, cut, name in look.hidden)):
                self._update_curves(name)
        if self._changed("cameras", look.cameras):
            self._update_cameras()
        camera = draw.present_camera(self.ps, RENDER_WIDTH)
        if self._changed(draw.RENDER, look.render and (look.time, camera.viewmat.tolist())):
            if look.render:
                draw.draw_render(self.ps, self.layers.render(camera, look.time))
            else:
                draw.erase_render(self.ps)

    def _changed(self, key: str, value: object) -> bool:
        known = key in self._sent and self._sent[key] == value
        self._sent[key] = value
        return not known

    def _update_curves(self, name: str) -> None:
        curves = self.layers.curves(name, self.look.time)
        draw.draw_curves(self.ps, name, curves, 0.0015 * self.distance)
        steps = len(self.layers.times)
        self._ids[name] = curves.ids.repeat_interleave(steps)
        self._ids[draw.HEADS + name] = curves.ids
        shown = name not in self.look.hidden
        self.ps.get_curve_network(name).set_enabled(shown)
        self.ps.get_point_cloud(draw.HEADS + name).set_enabled(shown)

    def _update_cameras(self) -> None:
        for frame in self.layers.frames():
            name = f"camera {frame.name}"
            if not self.ps.has_camera_view(name):
                draw.draw_camera(self.ps, name, frame, 0.06 * self.distance)
            self.ps.get_camera_view(name).set_enabled(self.look.cameras)

    def look_over(self) -> float:
        """Look at the objects, or the whole scene without any, from the training cameras' side.

        Returns the distance to what is looked at, in scene units.
        """
        width, height = self.ps.get_window_size()
        focus = self.layers.focus(self.look.time, self.look.opacity)
        camera = overview(self.layers.scene, focus, width, height)
        draw.look_through(self.ps, camera)
        return (focus.median(0).values - camera.center).norm().item()

    def through_camera(self) -> Camera:
        """Look through the training camera of the present time; returns it."""
        frames = self.layers.scene.split("train")
        nearest = min(frames, key=lambda frame: abs(frame.time - self.look.time))
        draw.look_through(self.ps, nearest.camera)
        return nearest.camera

    def gaussian_at(self, x: float, y: float) -> int | None:
        """The Gaussian drawn at window position (x, y), as a sphere or by its trajectory."""
        hit = self.ps.pick(screen_coords=(x, y))
        ids = self._ids.get(hit.structure_name)
        if not hit.is_hit or ids is None:
            return None
        index = int(hit.structure_data["index"])
        if hit.structure_data.get("element_type") == "edge":
            index = int(self.layers.curves(hit.structure_name, self.look.time).edges[index, 0])
        return int(ids[index])

    @torch.no_grad()
    def select_like(self, gaussian: int, name: str, grain: str = "whole") -> Selection:
        """Show everything like a Gaussian as the object ``name``.

        ``grain`` is whole or part, as in :meth:`.Likeness.contrast`. BadInput for a field without
        semantics, or a name that cannot be one.
        """
        likeness = self.layers.likeness
        query = likeness.features[gaussian]
        how = f"click on Gaussian {gaussian} in the viewer, {grain}"
        selection = Selection.of(name, likeness.contrast(query, grain), 0.0, query, how)
        self.layers.add(selection)
        return selection

    def screenshot(self, path: str | Path) -> np.ndarray:
        """Draw what is shown into a PNG file; returns the pixels, uint8 [H, W, 3]."""
        from PIL import Image

        self.update()
        pixels = self.ps.screenshot_to_buffer(transparent_bg=False)[..., :3]
        with replacing(path) as temporary:
            Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, format="PNG")
        return pixels


def nearest_axis(up) -> str:
    """polyscope's name of the coordinate axis nearest to the direction ``up``."""
    axis = int(torch.tensor(up).abs().argmax())
    return ("neg_" if up[axis] < 0 else "") + "xyz"[axis] + "_up"
