"""Features of points on planes through pairs of axes (K-planes), with gradients in points and planes."""

from ..garbage import put_off

with put_off():
    from .sample import sample_planes

__all__ = ["sample_planes"]
