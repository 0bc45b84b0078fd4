"""How much each Gaussian weighs in each tile."""

import torch
from torch import Tensor

from .constants import BLUR
from .frame import PER_GAUSSIAN, Settings
from .inputs import projected
from .project import renderer


@torch.no_grad()
def tile_weights(
    means: Tensor,
    quats: Tensor | None,
    scales: Tensor | None,
    opacities: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = BLUR,
    rasterize_mode: str = "classic",
    camera_model: str = "pinhole",
    covars: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The sums of the weights (transmittance in front of a Gaussian times its opacity at a pixel) over tiles of 16 x 16
    pixels: rendering averaged over tiles, as the entries of a sparse matrix.

    Arguments as in :func:`rasterization`.

    Returns:
        Tiles [E], int64, ascending, row by row and camera after camera; Gaussians [E], int64; and their weights [E],
        positive. A pair of both comes once; pairs without weight do not come.
    """
    settings = Settings.of(
        width, height, near_plane, far_plane, radius_clip, eps2d, rasterize_mode, camera_model, PER_GAUSSIAN
    )
    _, frame = projected(means, quats, scales, covars, opacities, viewmats, Ks, settings)
    gaussians, weights = renderer(means).tile_weights(frame)
    sizes = frame.starts.diff().long()
    tiles = torch.arange(frame.tasks, device=sizes.device).repeat_interleave(sizes, output_size=len(weights))
    seen = weights > 0
    return tiles[seen], gaussians[seen], weights[seen]
