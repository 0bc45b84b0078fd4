"""How much each Gaussian weighs in each cell of a grid over the picture."""

import torch
from torch import Tensor

from .constants import CELL
from .frame import PER_GAUSSIAN, Frame, Settings
from .inputs import projected
from .project import renderer


@torch.no_grad()
def cell_weights(
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
    eps2d: float = 0.3,
    rasterize_mode: str = "classic",
    camera_model: str = "pinhole",
    covars: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rendering averaged over cells of 8 x 8 pixels, as the entries of a sparse matrix.

    Arguments as in :func:`rasterization`. The last cells may reach beyond the picture.

    Returns:
        Cells [E], int64, ascending, row by row and camera after camera; Gaussians [E], int64; and [E] the sum of a
        Gaussian's weights (transmittance in front of it times its opacity at a pixel) over a cell, by the pixels of a
        whole cell. A pair comes once; pairs without weight do not come.
    """
    settings = Settings.of(
        width, height, near_plane, far_plane, radius_clip, eps2d, rasterize_mode, camera_model, PER_GAUSSIAN
    )
    _, frame = projected(means, quats, scales, covars, opacities, viewmats, Ks, settings)
    return entries(frame)


def entries(frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
    """Cells, Gaussians and weights of a frame."""
    gaussians, sums = renderer(frame.depths).cell_sums(frame)
    entry, part = sums.nonzero(as_tuple=True)
    tile = torch.searchsorted(frame.starts[1:].contiguous(), entry.int(), right=True)
    across, down = frame.settings.tiles
    row, column = tile // across % down * 2 + part // 2, tile % across * 2 + part % 2
    rows, columns = -(-frame.settings.height // CELL), -(-frame.settings.width // CELL)
    cells = (tile // (across * down) * rows + row) * columns + column
    cells, order = cells.sort(stable=True)
    entry, part = entry[order], part[order]
    return cells, gaussians[entry], sums[entry, part] / CELL**2
