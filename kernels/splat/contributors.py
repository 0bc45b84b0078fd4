"""Which Gaussians a pixel shows."""

import torch
from torch import Tensor

from .frame import PER_GAUSSIAN, Frame, Settings
from .inputs import projected
from .project import renderer


@torch.no_grad()
def contributors(
    means: Tensor,
    quats: Tensor | None,
    scales: Tensor | None,
    opacities: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    k: int = 1,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    rasterize_mode: str = "classic",
    camera_model: str = "pinhole",
    covars: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The ``k`` Gaussians that weigh most in each pixel, strongest first.

    Arguments as in :func:`rasterization`.

    Returns:
        Indices of Gaussians [C, H, W, k], int64, -1 where there are fewer, and their weights [C, H, W, k]:
        transmittance in front of the Gaussian times its opacity at the pixel, 0 where there are fewer. Of equal weights
        the nearer Gaussian comes first.
    """
    settings = Settings.of(
        width, height, near_plane, far_plane, radius_clip, eps2d, rasterize_mode, camera_model, PER_GAUSSIAN
    )
    _, frame = projected(means, quats, scales, covars, opacities, viewmats, Ks, settings)
    return strongest(frame, k)


def strongest(frame: Frame, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` strongest of each pixel of a frame: indices and weights [C, H, W, k]."""
    if k < 1:
        raise ValueError(f"k: must be positive, got {k}")
    return renderer(frame.depths).strongest(frame, k)
