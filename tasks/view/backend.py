"""Starting polyscope: in a window, offscreen by EGL, or on its mock for tests."""

from __future__ import annotations

import atexit
import os
import sys
from types import ModuleType

from ...scenes import BadInput

NO_WINDOW = (
    "no display to open a window on; for a picture without one use --screenshot FILE.png, "
    "to look at the run elsewhere use semaflow export"
)
NO_OFFSCREEN = (
    "pictures without a display need EGL (on Debian: apt install libegl1 libegl-mesa0 "
    "libgl1-mesa-dri libx11-6)"
)


class NoViewer(BadInput):
    """polyscope cannot be started here."""


def start(mode: str, width: int = 1280, height: int = 720) -> ModuleType:
    """The polyscope module, initialised for ``mode``: window, offscreen or mock.

    polyscope lives once in a process: whatever was shown before is removed, and a process that
    draws offscreen cannot open a window any more. NoViewer when there is no polyscope, display or
    EGL.
    """
    try:
        import polyscope
    except ImportError as error:
        reason = "" if isinstance(error, ModuleNotFoundError) else f" ({error})"
        raise NoViewer(f"needs polyscope{reason}: pip install semaflow[view]") from error
    if not polyscope.is_initialized():
        if mode == "window" and not has_display():
            raise NoViewer(NO_WINDOW)
        _initialize(polyscope, mode)
    elif mode == "window" and polyscope.is_headless():
        raise NoViewer("this process draws offscreen already, a window needs a fresh one")
    polyscope.remove_everything()
    polyscope.clear_user_callback()
    polyscope.set_window_size(width, height)
    return polyscope


def has_display() -> bool:
    """Whether a window can be hoped for."""
    linux = sys.platform.startswith("linux")
    return not linux or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _initialize(polyscope: ModuleType, mode: str) -> None:
    polyscope.set_program_name("semaflow")
    polyscope.set_verbosity(0)
    polyscope.set_use_prefs_file(False)
    polyscope.set_errors_throw_exceptions(True)
    polyscope.set_ground_plane_mode("none")
    polyscope.set_background_color((1.0, 1.0, 1.0))
    polyscope.set_give_focus_on_show(True)
    polyscope.set_allow_headless_backends(mode != "window")
    # Only Linux has the EGL backend; elsewhere the window system draws offscreen too.
    linux = sys.platform.startswith("linux")
    offscreen = "openGL3_egl" if linux else "auto"
    backend = {"window": "openGL3_glfw", "offscreen": offscreen, "mock": "openGL_mock"}[mode]
    try:
        polyscope.init(backend)
    except RuntimeError as error:
        hint = NO_WINDOW if mode == "window" else NO_OFFSCREEN
        atexit.register(settle, polyscope)
        raise NoViewer(f"{hint} ({' '.join(str(error).split())})") from error


def settle(polyscope: ModuleType) -> None:
    """Have something for polyscope to shut down at exit: it complains at length where nothing was ever started."""
    if not polyscope.is_initialized():
        polyscope.init("openGL_mock")
