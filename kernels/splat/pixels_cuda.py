"""Compositing of few channels on CUDA devices, and its adjoint: a thread holds its pixel's channels in registers.

The adjoint goes front to back as that of :mod:`.tiles_cpu`. Sums over a warp's pixels are added to memory.
"""

import warp as wp

from ..native import kernel
from ..once import once
from .native_cuda import FOUND, GEOMETRY_ADJOINT, IMAGE, KNOWN, scene, snippet

MAX_CHANNELS = 32

_FORWARD = r"""
R image[REGISTERS] = {};
walk(char{}, [&](int k, int) {
    const Hit hit = meet(k);
    if (!(hit.weight > R(0))) return;
    const R* f = colors.data + color[k] * channels;
    #pragma unroll
    for (int d = 0; d < REGISTERS; d++)
        if (d < channels) image[d] += hit.weight * f[d];
});
if (pixel < 0) return;
transmittance.data[pixel] = T;
alphas.data[pixel] = R(1) - T;
#pragma unroll
for (int d = 0; d < REGISTERS; d++)
    if (d < channels)
        out.data[pixel * channels + d] =
            image[d] + (backgrounds.shape[0] > 0 ? T * backgrounds.data[camera * channels + d] : R(0));
"""

_BACKWARD = r"""
R v[REGISTERS] = {}, rest = R(0);
if (pixel >= 0) {
    #pragma unroll
    for (int d = 0; d < REGISTERS; d++)
        if (d < channels) {
            v[d] = v_out.data[pixel * channels + d];
            rest += v[d] * out.data[pixel * channels + d];
        }
    if (v_alphas.shape[0] > 0) rest -= transmittance.data[pixel] * v_alphas.data[pixel];
}
@GEOMETRY@
walk(char{}, [&](int k, int) {
    const Hit hit = meet(k);
    if (!vote(hit.weight > R(0))) return;
    const R* f = colors.data + color[k] * channels;
    R seen = R(0), values[REGISTERS];
    #pragma unroll
    for (int d = 0; d < REGISTERS; d++) {
        if (d < channels) seen += f[d] * v[d];
        values[d] = hit.weight > R(0) ? hit.weight * v[d] : R(0);
    }
    geometry(k, hit, seen);
    sum(values, [&](int d, R x) {
        if (d < channels) add(v_colors.data + color[k] * channels + d, x);
    });
});
"""


@once
def compositing(real, channels: int):
    """Kernels ``(composite, adjoint)`` for up to MAX_CHANNELS ``channels``, in a power of two of registers."""
    registers = 4
    while registers < channels:
        registers *= 2
    return _compositing(real, registers)


@once
def _compositing(real, registers: int):
    module = f"semaflow_pixels_{real.__name__}_{registers}"
    backward = _BACKWARD.replace("@GEOMETRY@", GEOMETRY_ADJOINT)

    def made(name, source, arguments):
        source = snippet(real, source, REGISTERS=registers)
        arguments = scene(real) | dict.fromkeys(arguments, wp.array(dtype=real)) | {"first_index": int}
        return kernel(name, module, source, arguments, elements=True)

    return made("composite", _FORWARD, IMAGE), made("adjoint", backward, KNOWN + FOUND)
