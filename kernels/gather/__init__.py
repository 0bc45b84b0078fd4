"""Features of image maps where points, or points that move, project: with gradients in maps, points and cameras."""

from ..garbage import put_off

with put_off():
    from .sample import sample_trajectories, sample_views

__all__ = ["sample_trajectories", "sample_views"]
