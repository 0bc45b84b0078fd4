"""Teacher maps lifted onto Gaussians, without training."""

from __future__ import annotations

import torch
from torch import Tensor

from ...scenes import Camera
from ..losses import area_average
from .companions import TIMES, companions, symmetric
from .field import GaussianField

SUPERSAMPLING = 6  # pixels rendered per cell of the teacher's grid, each way
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

    Without ``sweeps`` the average of all maps, weighted by the share T alpha that a Gaussian has in each pixel (the
    adjoint of rendering; training-free uplifting, Marrie et al. 2024).

    The maps are coarse, so what they say of a small thing is mostly about its surroundings. With A the rendering
    averaged over the teacher's cells, codes f that give the maps M back are the least of

        |A f - M|^2 + sum_ij w_ij |f_i - f_j|^2

    where w says how surely two Gaussians belong together (:mod:`.companions`): limbs a third of a cell wide come out,
    for the cells tell apart what the second term keeps in one piece. Each sweep is a step of conjugate gradients
    (Hestenes and Stiefel 1952), scaled by the diagonal; few of them leave the maps' noise out.

    Args:
        cameras, times: of the frames.
        maps: sequence of [h, w, d] float maps, one per frame, covering the whole image.
        progress: called after each frame with the share done, 0..1.
    """
    views, done = list(zip(cameras, times, maps, strict=True)), 0

    def through(codes: Tensor | None) -> tuple[Tensor, Tensor]:
        """The maps (None) or the rendered ``codes``, averaged over cells and summed over what shows each Gaussian."""
        nonlocal done
        total, weight = 0.0, 0.0
        for camera, time, target in views:
            height, width, _ = target.shape
            state, view = field.at(time), working_camera(camera, height, width)
            if codes is None:
                cells = target.to(state.means)
            else:
                cells = area_average(state.render(view, channels=(), values=codes).values, height, width)
            spread = cells.repeat_interleave(view.height // height, 0).repeat_interleave(view.width // width, 1)
            sums, share = state.uplift(spread.contiguous(), view)
            total, weight = total + sums, weight + share
            done += 1
            if progress:
                progress(done / (len(views) * (sweeps + 1)))
        return total, weight

    sums, weight = through(None)
    seen = (weight >= 1e-4)[:, None]
    if not sweeps or field.count < 2:
        return torch.where(seen, sums / weight.clamp_min(1e-6)[:, None], 0.0)
    ids, together = companions([field.at(time) for time in TIMES])
    # Of two Gaussians the one less seen says how much there is to tell them apart by.
    links = symmetric(ids, together * torch.minimum(weight[:, None], weight[ids]))
    degree = torch.sparse.sum(links, 1).to_dense()[:, None]
    ridge = RIDGE * weight[:, None]
    diagonal = (weight[:, None] + degree + ridge).clamp_min(1e-6)

    def normal(codes: Tensor) -> Tensor:
        return through(codes)[0] + degree * codes - links @ codes + ridge * codes

    return torch.where(seen, conjugate_gradients(normal, sums, diagonal, sweeps), 0.0)


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
