"""Gaussian splatting: a differentiable rasterizer for any number of channels, its adjoint as a tool of its own, and who
is seen in which pixel.

The interface of :func:`rasterization` is that of gsplat 1.5; it runs on the CPU and on CUDA devices.
"""

from .contributors import contributors
from .rasterization import rasterization
from .uplift import uplift

__all__ = ["contributors", "rasterization", "uplift"]
