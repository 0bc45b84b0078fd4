"""Gaussian splatting: a differentiable rasterizer for any number of channels, its adjoint as a tool of its own, and who
is seen in which pixel and cell. A :func:`view` is made once for whatever is drawn of the same Gaussians before the same
camera.

The interface of :func:`rasterization` is that of gsplat 1.5; it runs on the CPU and on CUDA devices.
"""

from ..garbage import put_off

with put_off():
    from .cell_weights import cell_weights
    from .constants import CELL
    from .contributors import contributors
    from .rasterization import rasterization
    from .uplift import uplift
    from .view import View, view

__all__ = ["CELL", "View", "cell_weights", "contributors", "rasterization", "uplift", "view"]
