"""Image maps lifted onto Gaussians, without training."""

import torch
from torch import Tensor

from ..arguments import expect
from .frame import PER_GAUSSIAN, Settings
from .inputs import projected
from .project import renderer


@torch.no_grad()
def uplift(
    means: Tensor,
    quats: Tensor | None,
    scales: Tensor | None,
    opacities: Tensor,
    maps: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    rasterize_mode: str = "classic",
    camera_model: str = "pinhole",
    covars: Tensor | None = None,
    normalize: bool = True,
) -> tuple[Tensor, Tensor]:
    """Average of maps over the pixels of each Gaussian, weighted as the pixels were composited.

    With w the weight (transmittance times opacity) of Gaussian n in pixel p of camera c:
    ``features[n] = sum_cp w maps[c, p] / sum_cp w`` (Marrie et al. 2024, LUDVIG). The numerator is the adjoint of
    :func:`rasterization` with respect to its colours. Cameras are taken one after another. No gradients.

    Args:
        maps: [C, H, W, D], any D.
        normalize: divide by the weights; otherwise the weighted sums are returned.
        Others as in :func:`rasterization`, whose images have the size of the maps.

    Returns:
        Features [N, D], 0 where a Gaussian is not seen, and weights [N].
    """
    expect("maps", maps, (viewmats.shape[0], None, None, None))
    cameras, height, width, channels = maps.shape
    settings = Settings.of(
        width, height, near_plane, far_plane, radius_clip, eps2d, rasterize_mode, camera_model, PER_GAUSSIAN
    )
    dtype = torch.float64 if means.dtype == torch.float64 else torch.float32
    features = torch.zeros(len(means), channels, dtype=dtype, device=means.device)
    weights = torch.zeros(len(means), dtype=dtype, device=means.device)
    for camera in range(cameras):
        one = slice(camera, camera + 1)
        _, frame = projected(means, quats, scales, covars, opacities, viewmats[one], Ks[one], settings)
        renderer(means).lift(frame, maps[one].to(dtype).contiguous(), features, weights)
    return averages(features, weights) if normalize else features, weights


def averages(sums: Tensor, weights: Tensor) -> Tensor:
    """``sums`` [N, D] by ``weights`` [N], 0 where there is none."""
    return torch.where(weights[:, None] > 0, sums / weights[:, None], 0.0)
