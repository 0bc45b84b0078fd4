"""Sums of many channels along rays, on the CPU: C++ with vectors of channels, at the speed of memory.

``out[r, d] = sum_i w[i] values[i, d]`` over the samples i of ray r; ``v_values[i] = w[i] v_out[r]``,
``v_w[i] = values[i] . v_out[r]``. A sample of weight zero adds nothing, whatever its value.
"""

import torch
import warp as wp
from torch import Tensor

from .. import bridge
from ..once import once
from .rays import Rays
from .sums_cpu import SUMS
from .tasks_cpu import launch_rays, rays_kernel

_COMMON = r"""
constexpr int SETS = 1;
"""

_VALUES = r"""
const R one = 1;
const long long stride = values.data ? channels : 0;
const R* const from = values.data ? values.data : &one;
"""

_FORWARD = r"""
each_ray([&](long long r, long long first, long long end) {
    R* const to = out.data + r * channels;
    __builtin_memset(to, 0, sizeof(R) * channels);
    for (long long i = first; i < end; i += SEGMENT) {
        const R* const w = weights.data + i;
        add_values(end - i < SEGMENT ? end - i : SEGMENT, channels, stride, from + i * stride, &w, &to);
    }
});
"""

_ADJOINT = r"""
each_ray([&](long long r, long long first, long long end) {
    const R* const g = v_out.data + r * channels;
    for (long long i = first; i < end; i += SEGMENT) {
        const int n = end - i < SEGMENT ? end - i : SEGMENT;
        const R* const w = weights.data + i;
        R v_w[SEGMENT] = {};
        R* const to = v_w;
        values_adjoint(n, channels, stride, from + i * stride, &w, &g, v_weights.data ? &to : nullptr,
                       v_values.data ? v_values.data + i * channels : nullptr);
        if (v_weights.data) put_all(v_weights.data + i, v_w, n);
    }
});
"""


@once
def _kernels(real):
    """Kernels ``(forward, adjoint)``; arrays of length zero stand for what is not given or not wanted."""

    def made(name: str, source: str, *names: str):
        arguments = {"channels": int} | dict.fromkeys(("values", "weights", *names), wp.array(dtype=real))
        return rays_kernel(name, module, _COMMON + SUMS + _VALUES + source, real, arguments)

    module = f"semaflow_accumulate_{real.__name__}"
    return made("accumulate", _FORWARD, "out"), made("accumulate_adjoint", _ADJOINT, "v_out", "v_values", "v_weights")


def _launch(which: int, rays: Rays, channels: int, arguments: list[Tensor | None]) -> None:
    weights = arguments[1]
    kernel = _kernels(bridge.REAL[weights.dtype])[which]
    size = 2 * weights.nbytes * (channels + 1)
    launch_rays(kernel, rays, size, [channels, *(bridge.flat(x) for x in arguments)])


def accumulate_cpu(rays: Rays, values: Tensor | None, weights: Tensor) -> Tensor:
    """Sums [R, D] of ``values`` [N, D] times ``weights`` [N]; None for values is ones [N, 1]."""
    channels = 1 if values is None else values.shape[1]
    out = weights.new_empty(rays.count, channels)
    if channels:
        _launch(0, rays, channels, [values, weights, out])
    return out


def accumulate_cpu_adjoint(
    rays: Rays, values: Tensor | None, weights: Tensor, v_out: Tensor, want: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of the values and of the weights, as far as they are wanted."""
    channels = v_out.shape[1]
    v_values = rays.per_sample(weights, channels) if want[0] else None
    v_weights = rays.per_sample(weights) if want[1] else None
    if channels:
        _launch(1, rays, channels, [values, weights, v_out, v_values, v_weights])
    elif want[1]:
        v_weights = torch.zeros_like(weights)
    return v_values, v_weights
