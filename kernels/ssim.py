"""Structural similarity and absolute difference of two images, and their gradient, in two passes over the CPU's memory.

Structural similarity (Wang et al. 2004) compares means, variances and covariance under a Gaussian window, zeros beyond
the border. With ``G`` for the window's sums, ``m = G a``, ``n = G b``, ``v = G aa - mm``, ``w = G bb - nn`` and
``c = G ab - mn``, a pixel's similarity is ``s = (2mn + c1) (2c + c2) / ((mm + nn + c1) (v + w + c2))``. The first pass
leaves its derivatives by ``m``, ``G aa`` and ``G ab``; the second sums them under the window, which is its own adjoint:
``ds/da = G s_m + 2a G s_aa + b G s_ab``.

A task is some rows of the image. Each row is summed over the rows around it first, into rows of its own with zeros at
both ends, and then along itself.
"""

import torch
import warp as wp
from torch import Tensor

from . import bridge
from .bridge import flat
from .native import kernel
from .once import once

ROWS = 8  # per task
C1, C2 = 0.01**2, 0.03**2

# Loops over a row take a vector of values at a time, and the last ones one by one.
_WINDOW = r"""
typedef R Vector __attribute__((vector_size(32)));
constexpr int LANES = sizeof(Vector) / sizeof(R);
const int radius = taps.shape[0] / 2, pad = radius * channels, across = width * channels;
const int padded = across + 2 * pad, height = a.shape[0] / across;
const int top = index * rows, bottom = top + rows < height ? top + rows : height;
const long long size = a.shape[0];
const R* g = taps.data;
R* sums = scratch.data + (long long)index * MAPS * padded;
for (int m = 0; m < MAPS; m++)
    for (int x = 0; x < pad; x++) sums[m * padded + x] = sums[m * padded + pad + across + x] = 0;
auto read = [](auto& to, const R* from) { __builtin_memcpy(&to, from, sizeof(to)); };
auto write = [](R* to, auto from) { __builtin_memcpy(to, &from, sizeof(from)); };
auto whole_row = [&](auto at) {
    int x = 0;
    for (; x + LANES <= across; x += LANES) at(Vector{}, x);
    for (; x < across; x++) at(R(0), x);
};
auto along = [&](auto* total, int x) {
    for (int k = 0; k <= 2 * radius; k++)
        for (int m = 0; m < MAPS; m++) {
            auto next = total[m];
            read(next, sums + m * padded + x + k * channels);
            total[m] += g[k] * next;
        }
};
"""

_COMPARE = r"""
constexpr int MAPS = 5;
WINDOW
const R c1 = R(C_1), c2 = R(C_2);
for (int y = top; y < bottom; y++) {
    const int above = y < radius ? -y : -radius, below = y + radius < height ? radius : height - 1 - y;
    whole_row([&](auto zero, int x) {
        auto p = zero, q = zero, sa = zero, sb = zero, saa = zero, sbb = zero, sab = zero;
        for (int k = above; k <= below; k++) {
            const R weight = g[k + radius];
            const long long at = (long long)(y + k) * across + x;
            read(p, a.data + at);
            read(q, b.data + at);
            const auto u = weight * p, v = weight * q;
            sa += u;
            sb += v;
            saa += u * p;
            sbb += v * q;
            sab += u * q;
        }
        R* sum = sums + pad + x;
        write(sum, sa);
        write(sum + padded, sb);
        write(sum + 2 * padded, saa);
        write(sum + 3 * padded, sbb);
        write(sum + 4 * padded, sab);
    });
    double similar = 0, apart = 0;
    Vector many_similar = {}, many_apart = {};
    whole_row([&](auto zero, int x) {
        decltype(zero) total[MAPS] = {};
        along(total, x);
        const auto m = total[0], n = total[1];
        const auto means = 2 * m * n + c1, spreads = 2 * (total[4] - m * n) + c2;
        const auto over_means = 1 / (m * m + n * n + c1), over_spreads = 1 / (total[2] - m * m + total[3] - n * n + c2);
        const auto s = means * spreads * over_means * over_spreads;
        const long long at = (long long)y * across + x;
        if (partials.shape[0] > 0) {
            const auto by_ab = 2 * means * over_means * over_spreads, by_aa = -s * over_spreads;
            write(partials.data + at, 2 * over_means * (n * spreads * over_spreads - m * s) - n * by_ab - 2 * m * by_aa);
            write(partials.data + size + at, by_aa);
            write(partials.data + 2 * size + at, by_ab);
        }
        auto p = zero, q = zero;
        read(p, a.data + at);
        read(q, b.data + at);
        const auto difference = p > q ? p - q : q - p;
        if constexpr (sizeof(zero) == sizeof(R)) {
            similar += s;
            apart += difference;
        } else {
            many_similar += s;
            many_apart += difference;
        }
    });
    for (int j = 0; j < LANES; j++) {
        similar += many_similar[j];
        apart += many_apart[j];
    }
    found.data[2 * y] = similar;
    found.data[2 * y + 1] = apart;
}
"""

_ADJOINT = r"""
constexpr int MAPS = 3;
WINDOW
for (int y = top; y < bottom; y++) {
    const int above = y < radius ? -y : -radius, below = y + radius < height ? radius : height - 1 - y;
    whole_row([&](auto zero, int x) {
        decltype(zero) total[MAPS] = {};
        for (int k = above; k <= below; k++)
            for (int m = 0; m < MAPS; m++) {
                auto next = zero;
                read(next, partials.data + m * size + (long long)(y + k) * across + x);
                total[m] += g[k + radius] * next;
            }
        for (int m = 0; m < MAPS; m++) write(sums + m * padded + pad + x, total[m]);
    });
    whole_row([&](auto zero, int x) {
        decltype(zero) total[MAPS] = {};
        along(total, x);
        auto p = zero, q = zero;
        const long long at = (long long)y * across + x;
        read(p, a.data + at);
        read(q, b.data + at);
        const auto apart = zero + v_apart, sign = p > q ? apart : p < q ? -apart : zero;
        write(gradient.data + at, v_similar * (total[0] + 2 * p * total[1] + q * total[2]) + sign);
    });
}
"""


@once
def _kernels(real):
    """Kernels ``(compare, adjoint)`` for scalar type ``real``."""
    head = "typedef float R;\n" if real is wp.float32 else "typedef double R;\n"
    reals = wp.array(dtype=real)
    common = {"a": reals, "b": reals, "taps": reals, "width": int, "channels": int, "rows": int, "scratch": reals}
    module = f"semaflow_ssim_{real.__name__}"
    compare = head + _COMPARE.replace("WINDOW", _WINDOW).replace("C_1", repr(C1)).replace("C_2", repr(C2))
    found = {"partials": reals, "found": wp.array(dtype=wp.float64), "first": int}
    given = {"partials": reals, "v_similar": real, "v_apart": real, "gradient": reals, "first": int}
    return (
        kernel("compare", module, compare, common | found, elements=True),
        kernel("adjoint", module, head + _ADJOINT.replace("WINDOW", _WINDOW), common | given, elements=True),
    )


def compare(a: Tensor, b: Tensor, taps: Tensor, derivatives: bool) -> tuple[float, float, Tensor | None]:
    """Sums of the similarity and of the absolute difference over all values of two images.

    Args:
        a, b: contiguous images [H, W, C] on the CPU, float32 or float64, both alike.
        taps: the window along one axis, of odd length, of the same type.
        derivatives: whether :func:`adjoint` will be called.

    Returns:
        The two sums, and the derivatives [3, H, W, C] for :func:`adjoint` or None.
    """
    height = a.shape[0]
    partials = bridge.empty(a, 3, *a.shape) if derivatives else None
    found = torch.empty(height, 2, dtype=torch.float64)
    arguments = [*_image(a, b, taps, 5), flat(partials), flat(found)]
    bridge.launch(_kernels(bridge.REAL[a.dtype])[0], -(-height // ROWS), arguments, a, grain=1)
    similar, apart = found.sum(0).tolist()
    return similar, apart, partials


def adjoint(a: Tensor, b: Tensor, taps: Tensor, partials: Tensor, v_similar: float, v_apart: float) -> Tensor:
    """Gradient [H, W, C] in ``a`` of ``v_similar`` and ``v_apart`` times the sums that :func:`compare` found."""
    gradient = torch.empty_like(a)
    arguments = [*_image(a, b, taps, 3), flat(partials), v_similar, v_apart, flat(gradient)]
    bridge.launch(_kernels(bridge.REAL[a.dtype])[1], -(-a.shape[0] // ROWS), arguments, a, grain=1)
    return gradient


def _image(a: Tensor, b: Tensor, taps: Tensor, maps: int) -> list:
    """Leading arguments of the kernels, with room for rows of ``maps`` kinds per task."""
    height, width, channels = a.shape
    scratch = a.new_empty(-(-height // ROWS), maps, (width + len(taps) - 1) * channels)
    return [flat(a), flat(b), flat(taps), width, channels, ROWS, flat(scratch)]
