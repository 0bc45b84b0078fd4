"""The panel of the viewer window: time, what is shown, objects, click to select."""

from __future__ import annotations

import time as clock
from collections.abc import Callable

from ...scenes import BadInput
from ..selection import Selection
from .viewer import Viewer

CLICK_PIXELS = 4.0  # a press that moves less is a click, one that moves more turns the view
GRAINS = ("whole", "part")
SLIDER_MARGIN = 1e-3  # how far below the highest score a threshold can be pushed, of the range


class Panel:
    """Called by polyscope once per frame; changes the viewer's look and objects.

    Args:
        viewer: what to control.
        gui: ``polyscope.imgui``.
        save: keeps an object for good (``Run.save_object``).
    """

    def __init__(self, viewer: Viewer, gui, save: Callable[[Selection], None]):
        self.viewer, self.gui, self.save = viewer, gui, save
        self.playing = False
        self.message = "click on something to select what is like it"
        self.picked = "picked"  # name of the next object selected by a click
        self.grain = 0  # of the next click, index into GRAINS
        self._before = clock.monotonic()
        self._pressed: tuple[float, float] | None = None
        scene = viewer.layers.scene
        self.seconds = max(len(scene.times) - 1, 1) / scene.frame_rate

    def __call__(self) -> None:
        self.gui.PushItemWidth(150)
        self._time()
        self._shown()
        self._objects()
        self._click()
        self.gui.TextWrapped(self.message)
        self.gui.PopItemWidth()
        try:
            self.viewer.update()
        except BadInput as error:
            self.message = str(error)

    def _time(self) -> None:
        gui, look = self.gui, self.viewer.look
        now = clock.monotonic()
        passed, self._before = now - self._before, now
        if gui.Button("pause" if self.playing else "play"):
            self.playing = not self.playing
        gui.SameLine()
        if self.playing:
            look.time = (look.time + passed / self.seconds) % 1.0
        changed, time = gui.SliderFloat("time", look.time, 0.0, 1.0)
        if changed:
            look.time, self.playing = min(max(time, 0.0), 1.0), False

    def _shown(self) -> None:
        gui, look, layers = self.gui, self.viewer.look, self.viewer.layers
        names = layers.colorings
        index = names.index(look.coloring) if look.coloring in names else 0
        changed, index = gui.Combo("coloring", index, names)
        if changed:
            look.coloring = names[index]
        _, look.opacity = gui.SliderFloat("least opacity", look.opacity, 0.0, 0.9)
        _, look.size = gui.SliderFloat("size", look.size, 0.1, 2.0)
        _, look.points = gui.Checkbox("points", look.points)
        gui.SameLine()
        _, look.cameras = gui.Checkbox("cameras", look.cameras)
        gui.SameLine()
        _, look.render = gui.Checkbox("render", look.render)
        if gui.Button("overview"):
            self.viewer.look_over()
        gui.SameLine()
        if gui.Button("through the camera"):
            self.viewer.through_camera()

    def _objects(self) -> None:
        gui, look = self.gui, self.viewer.look
        for name, selection in list(self.viewer.layers.selections.items()):
            gui.Separator()
            changed, shown = gui.Checkbox(name, name not in look.hidden)
            if changed:
                (look.hidden.discard if shown else look.hidden.add)(name)
            gui.SameLine()
            gui.Text(f"{int(selection.selected.sum())} of {len(selection.selected)}")
            low, high = selection.scores.min().item(), selection.scores.max().item()
            highest = high - SLIDER_MARGIN * (high - low)  # an object keeps at least one Gaussian
            changed, cut = gui.SliderFloat(f"threshold##{name}", selection.threshold, low, highest)
            if changed:
                self.viewer.layers.add(selection.cut(min(max(cut, low), highest)))
            gui.SameLine()
            if gui.Button(f"save##{name}"):
                self._keep(self.viewer.layers.selections[name])

    def _keep(self, selection: Selection) -> None:
        try:
            self.save(selection)
            self.message = f"{selection.name}: saved"
        except BadInput as error:
            self.message = str(error)

    def _click(self) -> None:
        """A press and release at one place selects what is like the Gaussian there."""
        gui = self.gui
        gui.Separator()
        _, self.picked = gui.InputText("click names it", self.picked)
        _, self.grain = gui.Combo("click means", self.grain, [f"the {word}" for word in GRAINS])
        if gui.GetIO().WantCaptureMouse:
            self._pressed = None
            return
        x, y = gui.GetMousePos()
        if gui.IsMouseClicked(0):
            self._pressed = (x, y)
        if gui.IsMouseReleased(0) and self._pressed is not None:
            moved = max(abs(x - self._pressed[0]), abs(y - self._pressed[1]))
            self._pressed = None
            if moved < CLICK_PIXELS:
                self.select_at(x, y)

    def select_at(self, x: float, y: float) -> None:
        """Select what is like the Gaussian at a window position; the message tells the result."""
        gaussian = self.viewer.gaussian_at(x, y)
        if gaussian is None:
            return
        try:
            selection = self.viewer.select_like(gaussian, self.picked, GRAINS[self.grain])
        except BadInput as error:
            self.message = str(error)
            return
        count = int(selection.selected.sum())
        self.message = f"{selection.name}: {count} Gaussians like number {gaussian}"
