"""Gaussian splatting: a differentiable rasterizer for any number of channels, its adjoint as a tool of its own, and who
is seen in which pixel and tile.

The interface of :func:`rasterization` is that of gsplat 1.5; it runs on the CPU and on CUDA devices.
"""

from .constants import BLUR, TILE
from .contributors import contributors
from .rasterization import rasterization
from .tile_weights import tile_weights
from .uplift import uplift

__all__ = ["BLUR", "TILE", "contributors", "rasterization", "tile_weights", "uplift"]
