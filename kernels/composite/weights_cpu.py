"""Weights of samples along a ray, and their adjoint, on the CPU: C++ with vectors of samples, at the speed of memory.

:mod:`.weights_cuda` has the equations. Both recurrences are scans, which are done for four samples at a time: inside of
a vector the products ``1 - alpha`` and, backward, the maps ``B -> m B + u`` are composed by halves, which waits for no
other vector; then what came from the vector before is multiplied in. So a vector, not a sample, waits for the one before.
State is float64, as long rays would lose digits, and the rounded opacity that is returned is the one that both ways use.
Samples that fill no vector are filled up with empty ones, which change nothing.
"""

import warp as wp
from torch import Tensor

from .. import bridge
from ..native import kernel
from ..once import once
from .rays import Rays
from .tasks_cpu import EACH_RAY, RAYS, TASKS, launch_rays

_COMMON = r"""
#pragma clang fp contract(fast)
typedef @REAL@ R;
constexpr int LANES = 4;
typedef double V __attribute__((vector_size(32)));
typedef long long M __attribute__((vector_size(32)));
typedef R P __attribute__((vector_size(LANES * sizeof(R))));
typedef R PU __attribute__((vector_size(LANES * sizeof(R)), aligned(sizeof(R))));
const V zero{}, one = V{} + 1.0;
// Samples that a vector holds: all its lanes, or fewer, and then the others are zeros.
struct All {};
struct Some { long long n; };
auto load = [](auto& x, long long i, auto some) -> V {  // zeros of an array that is not there
    if (!x.data) return V{};
    if constexpr (sizeof(some) == sizeof(All)) {
        return __builtin_convertvector(*(const PU*)(x.data + i), V);
    } else {
        V y{};
        for (int k = 0; k < some.n; k++) y[k] = x.data[i + k];
        return y;
    }
};
auto store = [](auto& x, long long i, auto some, V y) {
    if constexpr (sizeof(some) == sizeof(All)) *(PU*)(x.data + i) = __builtin_convertvector(y, P);
    else for (int k = 0; k < some.n; k++) x.data[i + k] = y[k];
};
auto sum = [](V x) { return (x[0] + x[1]) + (x[2] + x[3]); };
// exp(-s) = scale (1 + rest), with scale a power of two and rest = exp(f) - 1, |f| < log(2) / 2, by its series.
struct Exp { V scale, rest; };
auto exponential = [](V s) -> Exp {
    const V lowest = V{} - 1022.0, highest = V{} + 1023.0, magic = V{} + 6755399441055744.0;  // rounds to whole numbers
    V y = s * -1.4426950408889634;
    y = y < lowest ? lowest : y;  // what is no number remains so
    y = y > highest ? highest : y;
    const V shifted = y + magic;
    const V f = (y - (shifted - magic)) * 0.6931471805599453;
    constexpr int TERMS = sizeof(R) == 8 ? 13 : 8;
    constexpr double factors[] = {1., 2., 6., 24., 120., 720., 5040., 40320., 362880., 3628800., 39916800., 479001600.,
                                  6227020800.};
    V series = V{} + 1 / factors[TERMS - 1];
    for (int k = TERMS - 2; k >= 0; k--) series = series * f + 1 / factors[k];
    return {(V)(((M)shifted + 1023) << 52), series * f};
};
"""

_FORWARD = r"""
const bool density = sigmas.data, summed = sums.data;
each_ray([&](long long r, long long first, long long end) {
    V T = one, total{}, depth{};
    auto step = [&](long long i, auto some) {
        const V starts = load(t_starts, i, some), ends = load(t_ends, i, some);
        if (density) {
            const Exp e = exponential(load(sigmas, i, some) * (ends - starts));
            store(alphas, i, some, (1.0 - e.scale) - e.scale * e.rest);
        }
        const V alpha = load(alphas, i, some);
        V p = 1.0 - alpha;
        p *= __builtin_shufflevector(p, one, 4, 0, 1, 2);
        p *= __builtin_shufflevector(p, one, 4, 5, 0, 1);
        const V before = T * __builtin_shufflevector(p, one, 4, 0, 1, 2), weight = before * alpha;
        store(trans, i, some, before);
        store(weights, i, some, weight);
        if (summed) {
            total += weight;
            depth += weight * (0.5 * (starts + ends));
        }
        T *= __builtin_shufflevector(p, p, 3, 3, 3, 3);
    };
    long long i = first;
    for (; i + LANES <= end; i += LANES) step(i, All{});
    if (i < end) step(i, Some{end - i});
    if (summed) sums.data[2 * r] = sum(total), sums.data[2 * r + 1] = sum(depth);
});
"""

_ADJOINT = r"""
const bool density = sigmas.data, summed = v_sums.data;
each_ray([&](long long r, long long first, long long end) {
    const double v_total = summed ? v_sums.data[2 * r] : 0, v_depth = summed ? v_sums.data[2 * r + 1] : 0;
    V behind{};  // B of the last sample of the step, in all lanes
    auto step = [&](long long i, auto some) {
        const V starts = load(t_starts, i, some), ends = load(t_ends, i, some);
        const V alpha = load(alphas, i, some), T = load(trans, i, some);
        V v_weight = load(v_weights, i, some);
        if (summed) v_weight += v_total + v_depth * (0.5 * (starts + ends));
        V m = 1.0 - alpha, u = load(v_trans, i, some) + v_weight * alpha;
        u += m * __builtin_shufflevector(u, zero, 1, 2, 3, 4);
        m *= __builtin_shufflevector(m, one, 1, 2, 3, 4);
        u += m * __builtin_shufflevector(u, zero, 2, 3, 4, 5);
        m *= __builtin_shufflevector(m, one, 2, 3, 4, 5);
        const V in_front = u + m * behind;  // B of the samples before these
        V v_alpha = T * (v_weight - __builtin_shufflevector(in_front, behind, 1, 2, 3, 4));
        behind = __builtin_shufflevector(u, u, 0, 0, 0, 0) + __builtin_shufflevector(m, m, 0, 0, 0, 0) * behind;
        V v_end{};
        if (density) {
            const V sigma = load(sigmas, i, some), delta = ends - starts;
            const Exp e = exponential(sigma * delta);
            v_alpha = (v_alpha + load(v_alphas_out, i, some)) * (e.scale + e.scale * e.rest);  // dL/d(sigma delta)
            store(v_input, i, some, v_alpha * delta);
            v_end = v_alpha * sigma;
        } else {
            store(v_input, i, some, v_alpha);
        }
        if (v_ends.data) {
            const V middle = 0.5 * v_depth * T * alpha;
            store(v_starts, i, some, middle - v_end);
            store(v_ends, i, some, middle + v_end);
        }
    };
    long long i = end;
    for (; i - LANES >= first; i -= LANES) step(i - LANES, All{});
    if (i > first) step(first, Some{i - first});
});
"""


@once
def _kernels(real):
    """Kernels ``(forward, adjoint)``; arrays of length zero stand for what is not given or not wanted."""
    reals = wp.array(dtype=real)

    def made(name: str, source: str, *names: str):
        source = _COMMON.replace("@REAL@", "float" if real is wp.float32 else "double") + EACH_RAY + source
        return kernel(name, f"semaflow_weights_{real.__name__}", source, RAYS | dict.fromkeys(names, reals) | TASKS)

    known = ("sigmas", "t_starts", "t_ends", "alphas")
    incoming = ("v_weights", "v_trans", "v_alphas_out", "v_sums")
    return (
        made("weights", _FORWARD, *known, "weights", "trans", "sums"),
        made("weights_adjoint", _ADJOINT, *known, "trans", *incoming, "v_input", "v_starts", "v_ends"),
    )


def weights_cpu(rays: Rays, arguments: list[Tensor | None]) -> None:
    """Weights, as :func:`.weights_cuda.weights_cuda` has it."""
    _launch(0, rays, arguments)


def weights_cpu_adjoint(rays: Rays, arguments: list[Tensor | None]) -> None:
    """Their adjoint, as :func:`.weights_cuda.weights_cuda_adjoint` has it."""
    _launch(1, rays, arguments)


def _launch(which: int, rays: Rays, arguments: list[Tensor | None]) -> None:
    like = arguments[4]  # trans or weights
    kernel = _kernels(bridge.REAL[like.dtype])[which]
    launch_rays(kernel, rays, 8 * len(like), [bridge.flat(x) for x in arguments])
