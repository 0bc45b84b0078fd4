"""Teacher maps lifted onto Gaussians, without training."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ...kernels.splat import CELL
from ...scenes import Camera
from ..losses import area_average
from .companions import TIMES, companions, symmetric
from .field import GaussianField

SUPERSAMPLING = 6  # pixels rendered per cell of the teacher's grid, each way
SEEN = 3e-6  # cells that a Gaussian must cover, all frames together, to be given a code
RIDGE = 1e-3  # pull of codes to 0, in shares of the weight that a Gaussian is seen with


def working_camera(camera: Camera, height: int, width: int) -> Camera:
    """``camera`` at the resolution that features are rendered in for a teacher grid of ``height`` x ``width``."""
    w = min(camera.width, width * SUPERSAMPLING)
    h = min(camera.height, height * SUPERSAMPLING)
    return camera.resized(max(1, w // width) * width, max(1, h // height) * height)


def render_features(field: GaussianField, codes: Tensor, camera: Camera, time: float, height: int, width: int):
    """``codes`` [N, d] composited and averaged over the cells of a teacher grid: [height, width, d]."""
    view = working_camera(camera, height, width)
    rendered = field.at(time).render(view, channels=(), values=codes).values
    return area_average(rendered, height, width)


@torch.no_grad()
def lift(field: GaussianField, cameras: list[Camera], times: list[float], maps, sweeps: int = 10, progress=None):
    """Feature codes [N, d] for the Gaussians of ``field`` from teacher maps of the frames.

    Without ``sweeps`` the average of all maps, weighted by the share T alpha that a Gaussian has in each cell (the
    adjoint of rendering; training-free uplifting, Marrie et al. 2024).

    The maps are coarse, so what they say of a small thing is mostly about its surroundings. With A the rendering
    averaged over the teacher's cells, codes f that give the maps M back are the least of

        |A f - M|^2 + sum_ij w_ij |f_i - f_j|^2

    where w says how surely two Gaussians belong together (:mod:`.companions`): limbs a third of a cell wide come out,
    for the cells tell apart what the second term keeps in one piece. Each sweep is a step of conjugate gradients
    (Hestenes and Stiefel 1952), scaled by the diagonal; few of them leave the maps' noise out.

    A is held in memory, with its transpose: 16 bytes for each Gaussian in each cell that shows it. So that this stays
    bounded by the frames' size, maps finer than the kernels' cells of the frames are averaged to these.

    Args:
        cameras, times: of the frames.
        maps: sequence of [h, w, d] float maps, one per frame, covering the whole image.
        progress: called after each frame with the share done, 0..1.
    """
    grids = [_grid(camera, target) for camera, target in zip(cameras, maps, strict=True)]
    A, adjoint = _rendering(field, cameras, times, grids, progress)
    wanted = torch.cat([area_average(target, *grid).flatten(0, 1) for target, grid in zip(maps, grids, strict=True)])
    wanted = wanted.to(field.means)
    sums, weight = adjoint @ wanted, adjoint @ torch.ones_like(wanted[:, :1])
    seen = weight >= SEEN
    if not sweeps or field.count < 2:
        return torch.where(seen, sums / weight.clamp_min(SEEN), 0.0)
    ids, together = companions([field.at(time) for time in TIMES])
    # Of two Gaussians the one less seen says how much there is to tell them apart by.
    links = symmetric(ids, together * torch.minimum(weight, weight[ids, 0]))
    kept = torch.sparse.sum(links, 1).to_dense()[:, None] + RIDGE * weight
    diagonal = (weight + kept).clamp_min(1e-8)

    def normal(codes: Tensor) -> Tensor:
        return adjoint @ (A @ codes) + kept * codes - links @ codes

    return torch.where(seen, conjugate_gradients(normal, sums, diagonal, sweeps), 0.0)


def _grid(camera: Camera, target: Tensor) -> tuple[int, int]:
    """Rows and columns of cells that the map ``target`` is lifted in."""
    height, width, _ = target.shape
    return min(height, max(1, camera.height // CELL)), min(width, max(1, camera.width // CELL))


def _rendering(
    field: GaussianField, cameras: list[Camera], times: list[float], grids, progress
) -> tuple[Tensor, Tensor]:
    """Rendering averaged over the cells of all frames as a sparse matrix [cells, N], and its transpose."""
    entries, cells = [], 0
    for number, (camera, time, (height, width)) in enumerate(zip(cameras, times, grids, strict=True), 1):
        rows, columns, values = field.at(time).cell_weights(camera.resized(CELL * width, CELL * height))
        entries.append(((rows + cells).int(), columns.int(), values))
        cells += height * width
        if progress:
            progress(number / len(cameras))
    rows, columns, values = map(torch.cat, zip(*entries, strict=True))
    shape = (cells, field.count)
    by_column = columns.sort(stable=True).indices
    return _compressed(rows, columns, values, shape), _compressed(
        columns[by_column], rows[by_column], values[by_column], shape[::-1]
    )


def _compressed(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A sparse matrix of entries in the order of their rows."""
    starts = torch.searchsorted(rows, torch.arange(shape[0] + 1, device=rows.device, dtype=rows.dtype), out_int32=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")  # products with vectors are not new
        return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)


def conjugate_gradients(apply, right: Tensor, diagonal: Tensor, steps: int) -> Tensor:
    """The solution [N, d] of ``apply(x) = right`` after some steps from 0, each column by itself.

    ``apply`` is linear, symmetric and positive; ``diagonal`` [N, 1] is roughly its diagonal (Jacobi's preconditioner).
    """
    solution, residual = torch.zeros_like(right), right
    scaled = residual / diagonal
    direction, size = scaled, (residual * scaled).sum(0)
    for _ in range(steps):
        applied = apply(direction)
        step = size / (direction * applied).sum(0).clamp_min(1e-20)
        solution, residual = solution + step * direction, residual - step * applied
        scaled = residual / diagonal
        before, size = size, (residual * scaled).sum(0)
        direction = scaled + size / before.clamp_min(1e-20) * direction
    return solution
