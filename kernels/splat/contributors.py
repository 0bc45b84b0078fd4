"""Which Gaussians a pixel shows."""

import functools

import torch
import warp as wp
from torch import Tensor

from .. import bridge
from .frame import PER_GAUSSIAN, Settings
from .inputs import projected
from .native import kernel, snippet

_STRONGEST = r"""
while (true) {
    const int index = __atomic_fetch_add(counter.data, 1, __ATOMIC_RELAXED);
    if (index >= tasks) return;
    Tile tile(index, width, height);
    for (int e = starts.data[index]; e < starts.data[index + 1] && tile.live > 0; e++) {
        const int n = list.data[e];
        const Splat s(record.data + (long long)n * RECORD, tile);
        const long long id = place.data[n * PLACE + 5];
        for (int h = 0; h < 2; h++)
            for (unsigned rows = s.rows[h]; rows; rows &= rows - 1) {
                const int row = __builtin_ctz(rows), g = 2 * row + h;
                V w;
                for (unsigned lanes = tile.step(g, s.alpha(h, R(row) - s.y), w); lanes; lanes &= lanes - 1) {
                    const int j = __builtin_ctz(lanes);
                    R* best = weights.data + (tile.pixel(g) + j) * k;
                    long long* who = (long long*)ids.data + (tile.pixel(g) + j) * k;
                    int at = k;
                    for (; at > 0 && w[j] > best[at - 1]; at--)
                        if (at < k) best[at] = best[at - 1], who[at] = who[at - 1];
                    if (at < k) best[at] = w[j], who[at] = id;
                }
            }
    }
}
"""


@functools.cache
def _strongest(real):
    reals, ints = wp.array(dtype=real), wp.array(dtype=wp.int32)
    return kernel(
        "strongest",
        f"semaflow_strongest_{real.__name__}",
        snippet(real, _STRONGEST),
        {
            "width": int, "height": int, "k": int, "starts": ints, "list": ints, "record": reals, "place": ints,
            "ids": wp.array(dtype=wp.int64), "weights": reals, "tasks": int, "counter": ints,
        },
    )  # fmt: skip


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
    if k < 1:
        raise ValueError(f"k: must be positive, got {k}")
    settings = Settings.of(
        width, height, near_plane, far_plane, radius_clip, eps2d, rasterize_mode, camera_model, PER_GAUSSIAN
    )
    _, frame = projected(means, quats, scales, covars, opacities, viewmats, Ks, settings)
    shape = (frame.cameras, settings.height, settings.width, k)
    ids = torch.full(shape, -1, dtype=torch.int64, device=means.device)
    weights = frame.depths.new_zeros(shape)
    share = bridge.share
    bridge.launch_tasks(
        _strongest(bridge.REAL[weights.dtype]),
        frame.tasks,
        [
            settings.width, settings.height, k, share(frame.starts), share(frame.list), share(frame.record.view(-1)),
            share(frame.place.view(-1)), share(ids.view(-1)), share(weights.view(-1)),
        ],
    )  # fmt: skip
    return ids, weights
