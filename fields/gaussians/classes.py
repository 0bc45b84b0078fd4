"""Labels of frames lifted onto Gaussians, without training: how much of each class every one is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ...scenes import Camera
from .companions import TIMES, companions, symmetric
from .field import GaussianField
from .semantics import conjugate_gradients

SWEEPS = 3
TRUST = 5.0  # frames whose labels count as much as one that surely belongs together with a Gaussian
SLIGHT = 1e-6  # trust, in shares of that, in those near it that seem to belong to other things
STEPS = 60  # of conjugate gradients: from one to the next as far as that many Gaussians away
LEAST = 1e-3  # share of a pixel's own class in it: where no Gaussian is of that class, none can be made so at once


@torch.no_grad()
def lift_labels(field: GaussianField, cameras: list[Camera], times: list[float], labels: list[Tensor], classes: int,
                sweeps: int = SWEEPS, progress=None) -> Tensor:
    """Shares [N, C] of the classes in the Gaussians of ``field``, from label maps of some frames.

    The shares s are to make the labels likely when they are rendered, with w the weights of compositing:

        sum_p log (sum_n w_pn s_n,label(p) / sum_n w_pn)

    Each sweep is one of expectation maximisation (Dempster et al. 1977): every labelled pixel is shared out among the
    Gaussians that it shows, in proportion to how much of its class they are (the first time evenly, which is the
    adjoint of rendering as for features); unlabelled pixels do not count. What the pixels say of a Gaussian is then
    weighed against what is said of those that surely belong together with it (:mod:`.companions`), from which also
    those take their shares that no labelled pixel shows: the least of

        sum_n c_n |s_n - e_n|^2 + TRUST sum_ij t_ij |s_i - s_j|^2

    for pixels c_n and shares e_n in them, and how surely i and j belong together, t_ij.

    Args:
        cameras, times: of the labelled frames.
        labels: int64 [H, W] each, of the cameras' sizes, below ``classes``; -1 unlabelled.
        progress: called after each frame of each sweep with the share done, 0..1.
    """
    shares = torch.full((field.count, classes), 1.0 / classes, device=field.means.device)
    links = None
    if field.count > 1:
        ids, together = companions([field.at(time) for time in TIMES])
        links = symmetric(ids, together + SLIGHT)
    # Pixels are counted by those that a Gaussian has in a frame on average, whatever the pictures' size.
    usual = sum(camera.width * camera.height for camera in cameras) / len(cameras) / field.count
    for sweep in range(sweeps):
        counts = torch.zeros_like(shares)
        for number, (camera, time, known) in enumerate(zip(cameras, times, labels, strict=True), 1):
            counts += _shared_out(field, camera, time, known, shares)
            if progress:
                progress((sweep + number / len(cameras)) / sweeps)
        shares = _settled(counts / usual, links)
    return shares


def _shared_out(field: GaussianField, camera: Camera, time: float, known: Tensor, shares: Tensor) -> Tensor:
    """Pixels of each class [N, C] that Gaussians with ``shares`` [N, C] get of the labels ``known`` [H, W]."""
    state, known = field.at(time), known.to(shares.device)
    seen = state.render(camera, (), shares)
    part = (seen.values / seen.alpha[..., None].clamp_min(1e-6)).clamp_min(LEAST)
    wanted = one_hot(known.clamp_min(0), shares.shape[1]) * (known >= 0)[..., None]
    return shares * state.uplift(wanted / part, camera)[0]


def _settled(counts: Tensor, links: Tensor | None) -> Tensor:
    """Shares [N, C] between what pixels say, ``counts`` [N, C], and what the Gaussians linked to each are."""
    total = counts.sum(1, keepdim=True)
    if links is None:
        return counts / total.clamp_min(1e-12)
    kept = TRUST * torch.sparse.sum(links, 1).to_dense()[:, None]

    def apply(shares: Tensor) -> Tensor:
        return (total + kept) * shares - TRUST * (links @ shares)

    shares = conjugate_gradients(apply, counts, total + kept, STEPS).clamp_min(0)
    return shares / shares.sum(1, keepdim=True).clamp_min(1e-12)
