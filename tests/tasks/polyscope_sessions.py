"""Sessions of polyscope for ``test_view``; polyscope lives once per process, so each has its own.

Run one by ``python -m tests.tasks.polyscope_sessions NAME FOLDER``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from semaflow.fields.rendering import Rendering
from semaflow.scenes import BadInput
from semaflow.tasks.view import draw, trajectory_screenshot, view
from semaflow.tasks.view.backend import start
from semaflow.tasks.view.layers import Layers
from semaflow.tasks.view.panel import Panel
from semaflow.tasks.view.surfels import SurfelLayers
from semaflow.tasks.view.viewer import POINTS, Look, Viewer

from tests.tasks.doubles import flow_run
from tests.tasks.viewer_doubles import PathField, ball_selection, two_balls


class Hands:
    """ImGui with somebody at the mouse: widgets named in ``moves`` answer with a new value once."""

    def __init__(self, gui):
        self.gui, self.moves, self.mouse, self.pressed, self.released = gui, {}, (9.0, 9.0), 0, 0

    def __getattr__(self, name):
        return getattr(self.gui, name)

    def _answer(self, label, drawn):
        return (True, self.moves.pop(label)) if label in self.moves else drawn

    def SliderFloat(self, label, *rest):
        return self._answer(label, self.gui.SliderFloat(label, *rest))

    def Combo(self, label, *rest):
        return self._answer(label, self.gui.Combo(label, *rest))

    def Checkbox(self, label, *rest):
        return self._answer(label, self.gui.Checkbox(label, *rest))

    def Button(self, label):
        return self.moves.pop(label, False) or self.gui.Button(label)

    def GetMousePos(self):
        return self.mouse

    def IsMouseClicked(self, button):
        return self.pressed

    def IsMouseReleased(self, button):
        return self.released


def panel(folder: Path) -> None:
    """The callback over some frames on the mock backend, with sliders and buttons moved."""
    ps = start("mock", 640, 480)
    scene, field = two_balls()
    scene.frame_rate = 0.1  # 80 seconds long
    viewer = Viewer(ps, Layers(field, scene, [ball_selection(field)], 20), Look(0.0))
    saved = []
    hands = Hands(ps.imgui)
    control = Panel(viewer, hands, saved.append)
    ps.set_user_callback(control)

    def frame(**mouse) -> None:
        hands.pressed, hands.released = mouse.pop("pressed", 0), mouse.pop("released", 0)
        hands.mouse = mouse.pop("mouse", hands.mouse)
        ps.show(1)
        assert not hands.moves, f"no such widget: {hands.moves}"

    def place(name: str) -> np.ndarray:
        cloud = ps.get_point_cloud(name)
        points = cloud.get_buffer("points")
        return np.array([points.get_value(i).as_tuple() for i in range(cloud.n_points())])

    frame()
    assert np.allclose(place(POINTS), field.at(0.0).means)

    hands.moves = {"time": 0.5}
    frame()
    assert viewer.look.time == 0.5
    assert np.allclose(place(POINTS), field.at(0.5).means, atol=1e-6)
    curves = viewer.layers.curves("red ball", 0.5)
    assert np.allclose(place("now: red ball"), curves.heads, atol=1e-6)
    assert ps.get_curve_network("red ball").n_nodes() == len(curves.nodes)

    hands.moves = {"play": True}
    frame()
    control._before -= 8.0  # as if a tenth of it had passed
    frame()
    assert control.playing and 0.6 <= viewer.look.time < 0.9
    hands.moves = {"pause": True}
    frame()
    stopped = viewer.look.time
    frame()
    assert viewer.look.time == stopped

    count = int(viewer.layers.selections["red ball"].selected.sum())
    hands.moves = {"threshold##red ball": -1.0, "coloring": 2}
    frame()
    lowered = viewer.layers.selections["red ball"]
    assert int(lowered.selected.sum()) == field.count > count
    assert viewer.look.coloring == "red ball"
    hands.moves = {"threshold##red ball": 2.0}  # typed in, beyond the slider's end
    frame()
    assert 1 <= int(viewer.layers.selections["red ball"].selected.sum()) < count
    hands.moves = {"save##red ball": True}
    frame()
    assert saved == [viewer.layers.selections["red ball"]]

    hands.moves = {"red ball": False, "cameras": False, "points": False}
    frame()
    assert not ps.get_curve_network("red ball").is_enabled()
    assert not ps.get_point_cloud(POINTS).is_enabled()
    assert not any(
        ps.get_camera_view(f"camera {shot.name}").is_enabled() for shot in viewer.layers.frames()
    )
    hands.moves = {"overview": True, "through the camera": True, "least opacity": 0.5, "size": 0.5}
    frame()
    eye, wanted = draw.present_camera(ps, 64), scene.frames[round(stopped * 8)].camera
    assert torch.allclose(eye.viewmat, wanted.viewmat, atol=1e-4)

    viewer.gaussian_at = lambda x, y: 70 if (x, y) == (50, 60) else None
    frame(mouse=(50, 60), pressed=1)
    frame(mouse=(51, 62), released=1)
    assert "picked" not in viewer.layers.selections, "nothing there"
    frame(mouse=(90, 90), pressed=1)
    frame(mouse=(50, 60), released=1)
    assert "picked" not in viewer.layers.selections, "that was a drag"
    frame(mouse=(50, 60), pressed=1)
    frame(mouse=(50, 60), released=1)
    picked = viewer.layers.selections["picked"].selected
    assert picked[60:100].float().mean() > 0.9, "the blue ball"
    assert picked[:60].sum() == 0 and picked[100:].float().mean() < 0.05, "and little else"
    assert f"{int(picked.sum())} Gaussians like number 70" in control.message
    assert ps.has_curve_network("picked")

    hands.moves = {"click means": 1}
    control.picked = "other"
    frame(mouse=(50, 60), pressed=1)
    frame(mouse=(50, 60), released=1)
    assert "part" in viewer.layers.selections["other"].how

    control.picked = "no/name"
    control.select_at(50, 60)
    assert "letters, digits" in control.message
    plain = PathField(**{**vars(field), "features": None})
    viewer.layers.field = plain
    del viewer.layers.likeness
    control.picked = "third"
    control.select_at(50, 60)
    assert "no semantics" in control.message


def offscreen(folder: Path) -> None:
    """Real pictures by EGL."""
    scene, field = two_balls()
    chosen = [ball_selection(field)]

    # The demo's picture: trajectories in their colour, on white, longer at a later time.
    inked = {}
    for time in (0.2, 1.0):
        path = folder / f"{time}.png"
        trajectory_screenshot(Layers(field, scene, chosen, 20), path, time, (480, 270))
        pixels = np.asarray(Image.open(path)).astype(int)
        assert pixels.shape == (270, 480, 3)
        white = (pixels > 250).all(-1).mean()
        assert 0.3 < white < 0.97, f"a white ground with something on it, {white:.2f}"
        curves = Layers(field, scene, chosen, 20).curves("red ball", time)
        color = (255 * curves.head_colors.mean(0)).numpy()
        # Tubes run from the trajectory's colour towards white: judged by hue, not brightness.
        ink = 255.0 - pixels
        tint = (255 - color) / np.linalg.norm(255 - color)
        strength = ink @ tint
        hue_off = np.linalg.norm(ink - strength[..., None] * tint, axis=-1)
        inked[time] = int(((strength > 60) & (hue_off < 0.2 * strength)).sum())
    assert inked[0.2] > 50, inked
    assert inked[1.0] > 2 * inked[0.2], inked

    # What is drawn is where the cameras of the scene say it is, and can be picked there.
    ps = start("offscreen", 320, 240)
    viewer = Viewer(ps, Layers(field, scene, [], 20), Look(0.5, cameras=False))
    viewer.through_camera()
    camera = scene.frames[4].camera.resized(320, 240)
    pixel, _ = camera.project(field.at(0.5).means[70])
    pixels = viewer.screenshot(folder / "camera.png")
    x, y = pixel.long().tolist()
    assert np.allclose(pixels[y, x], 255 * field.colors[70].numpy(), atol=4), pixels[y, x]
    assert viewer.gaussian_at(*pixel.tolist()) == 70
    assert viewer.gaussian_at(2, 2) is None
    viewer.layers.add(ball_selection(field))
    viewer.look.points, viewer.look.time = False, 1.0
    viewer.update()
    curves = viewer.layers.curves("red ball", 1.0)
    middle = camera_now(ps).project(curves.nodes.reshape(20, 9, 3)[3, 2:4].mean(0))[0]
    assert viewer.gaussian_at(*middle.tolist()) in curves.ids, "a trajectory can be picked too"

    # The field's own picture lies behind and hides by its depth.
    viewer.look.hidden.add("red ball")
    viewer.look.points = viewer.look.render = True
    near, far = (viewer_with_plane(viewer, depth, folder) for depth in (0.5, 50.0))
    assert np.allclose(near, (0, 204, 0), atol=3), "everything is behind the near picture"
    green = np.isclose(far, (0, 204, 0), atol=3).all(-1)
    assert 0.3 < green.mean() < 0.99, "Gaussians are in front of the far one"
    viewer.look.render = False
    assert not np.isclose(viewer.screenshot(folder / "off.png"), (0, 204, 0), atol=3).all(-1).any()

    try:
        start("window")
    except BadInput as error:
        assert "offscreen already" in str(error)
    else:
        raise AssertionError("a window from an offscreen process")


def surfels(folder: Path) -> None:
    """A picture of a field that has no Gaussians: its surfaces, and trajectories of what moves."""
    run = flow_run(folder)
    view(run, screenshot=folder / "moving.png", count=20)
    view(run, ["blue ball"], screenshot=folder / "still.png", count=20)
    moving, still = (np.asarray(Image.open(folder / name)).astype(int) for name in ("moving.png", "still.png"))
    for pixels in (moving, still):
        assert 0.1 < (pixels > 250).all(-1).mean() < 0.97
    curves = SurfelLayers(run.field, run.scene, count=20).curves("red ball", 1.0)
    color = (255 * curves.head_colors[0]).numpy()
    assert (np.abs(moving - color).max(-1) < 40).sum() > 200, "trajectories in the class's colour"
    try:
        view(run, ["cat"], screenshot=folder / "cat.png")
    except BadInput as error:
        assert "no such class 'cat'" in str(error) and not (folder / "cat.png").exists()
    else:
        raise AssertionError("a picture of a class that is not there")


def camera_now(ps):
    """The present view in window pixels."""
    return draw.present_camera(ps, ps.get_window_size()[0])


def viewer_with_plane(viewer: Viewer, depth: float, folder: Path) -> np.ndarray:
    """The picture when the field renders as a green plane at a z-depth."""

    def plane(camera, time):
        size = (camera.height, camera.width)
        green = torch.tensor([0.0, 0.8, 0.0]).expand(*size, 3)
        return Rendering(camera, time, torch.ones(size), green, torch.full(size, depth))

    viewer.layers.render = plane
    viewer.look.time = 0.5 if depth < 1 else 0.6
    return viewer.screenshot(folder / "render.png")


if __name__ == "__main__":
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        os.environ.pop(variable, None)
    {"panel": panel, "offscreen": offscreen, "surfels": surfels}[sys.argv[1]](Path(sys.argv[2]))
