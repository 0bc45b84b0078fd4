"""What was filmed: cameras, frames, readers of the public formats, camera estimation, simulated worlds."""

from .camera import Camera
from .files import BadInput
from .scene import Frame, PointCloud, Scene, Tracks
from .simulate import simulate

__all__ = ["BadInput", "Camera", "Frame", "PointCloud", "Scene", "Tracks", "load", "simulate"]


def load(path, format: str | None = None, **options) -> Scene:
    """Read a scene from a file or folder; the format is detected unless named (see ``scenes.readers``)."""
    from .readers import load as read

    return read(path, format, **options)
