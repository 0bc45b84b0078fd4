"""Where along a ray a field is asked: even in depth, its logarithm, its inverse or NDC, and again where it is dense."""

from __future__ import annotations

import torch
from torch import Tensor

SPACINGS = ("ndc", "inverse", "log", "linear")
LAST = 1e10  # length of a ray's last sample: whatever is there is all that is seen beyond


def depth_at(u: Tensor, near: float, far: float, spacing: str) -> Tensor:
    """Z-depth of a place ``u`` in 0..1 along a ray.

    ``linear`` in depth; ``log``: in its logarithm; ``inverse``: in inverse depth from near to far; ``ndc``: in the
    depth of NDC, which is inverse depth from near to infinity (NeRF, appendix C), ended at fifty times near, or at a
    farther ``far``.
    """
    if spacing == "linear":
        return near + (far - near) * u
    if spacing == "log":
        return near * (far / near) ** u
    end = 1 / far if spacing == "inverse" else min(1 / far, 0.02 / near)
    return 1 / ((1 - u) / near + u * end)


def even(rays: int, count: int, jitter: torch.Generator | None, like: Tensor) -> Tensor:
    """Borders [rays, count + 1] in 0..1 of as many samples; inner ones move by up to half a sample with ``jitter``."""
    borders = torch.linspace(0, 1, count + 1).expand(rays, -1)
    if jitter is not None and count > 1:
        shift = (torch.rand(rays, count - 1, generator=jitter) - 0.5) / count
        borders = torch.cat([borders[:, :1], borders[:, 1:-1] + shift, borders[:, -1:]], 1)
    return borders.to(like)


def again(borders: Tensor, weights: Tensor, count: int, jitter: torch.Generator | None, rest: float = 0.02) -> Tensor:
    """Borders [R, count + 1] of new samples, dense where ``weights`` [R, M] between ``borders`` [R, M + 1] are large.

    NeRF's inverse transform sampling (section 5.2) of borders instead of points; ``rest`` is spread evenly, so that
    nothing is lost for good.
    """
    spread = torch.nn.functional.max_pool1d(weights[:, None], 3, 1, 1)[:, 0]
    spread = 0.5 * (spread + weights)
    share = spread / spread.sum(1, keepdim=True).clamp_min(1e-9) + rest * borders.diff(dim=1)
    total = torch.nn.functional.pad(share.cumsum(1), (1, 0))
    total = total / total[:, -1:]
    wanted = even(len(borders), count, jitter, borders)
    above = torch.searchsorted(total.contiguous(), wanted.contiguous()).clamp(1, borders.shape[1] - 1)
    low, high = total.gather(1, above - 1), total.gather(1, above)
    start, end = borders.gather(1, above - 1), borders.gather(1, above)
    return start + (end - start) * ((wanted - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)
