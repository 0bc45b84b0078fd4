"""Teacher maps lifted onto Gaussians, without training."""

from __future__ import annotations

import torch
from torch import Tensor

from ...scenes import Camera
from ..losses import area_average
from .field import GaussianField

SUPERSAMPLING = 6  # pixels rendered per cell of the teacher's grid, each way


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
def lift(field: GaussianField, cameras: list[Camera], times: list[float], maps, sweeps: int = 8, progress=None):
    """Feature codes [N, d] for the Gaussians of ``field`` from teacher maps of the frames.

    The first value is the average of all maps, weighted by the share T alpha that a Gaussian has in each pixel
    (the adjoint of rendering; training-free uplifting). The maps are coarse, so their edges bleed; ``sweeps`` of
    simultaneous iterative reconstruction (Gilbert 1972) then move the codes until the rendering, averaged over the
    teacher's cells, gives the maps: f += W^T (M - A W f) / W^T 1.

    Args:
        cameras, times: of the frames.
        maps: sequence of [h, w, d] float maps, one per frame, covering the whole image.
        progress: called after each frame with the share done, 0..1.
    """
    total, weight = None, None
    steps, done = len(times) * (sweeps + 1), 0
    codes = None
    for _ in range(sweeps + 1):
        total = None
        weight = torch.zeros(field.count, device=field.means.device)
        for index, (camera, time) in enumerate(zip(cameras, times, strict=True)):
            target = maps[index].to(weight)
            height, width, dim = target.shape
            state = field.at(time)
            view = working_camera(camera, height, width)
            residual = target
            if codes is not None:
                rendered = state.render(view, channels=(), values=codes).values
                residual = target - area_average(rendered, height, width)
            spread = residual.repeat_interleave(view.height // height, 0).repeat_interleave(view.width // width, 1)
            sums, share = state.uplift(spread.contiguous(), view)
            total = sums if total is None else total + sums
            weight = weight + share
            done += 1
            if progress:
                progress(done / steps)
        step = total / weight.clamp_min(1e-6)[:, None]
        step[weight < 1e-4] = 0.0
        codes = step if codes is None else codes + step
    return codes

