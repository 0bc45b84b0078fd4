"""Particles carried by a flow: through a velocity grid, through any function of time and place, or with Gaussians."""

from ..garbage import put_off

with put_off():
    from .carry import carry
    from .trajectories import inside, trajectories

__all__ = ["carry", "inside", "trajectories"]
