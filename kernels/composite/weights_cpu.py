"""Weights of samples along a ray, and their adjoint, on the CPU: C++ with vectors of samples.

:mod:`.weights_cuda` has the equations. Both recurrences are scans (:mod:`.vectors_cpu`). State is float64, as long rays
would lose digits, and the rounded opacity that is returned is the one that both ways use. Samples that fill no vector are
filled up with empty ones, which change nothing.
"""

import warp as wp
from torch import Tensor

from .. import bridge
from ..once import once
from .rays import Rays
from .tasks_cpu import launch_rays, rays_kernel
from .vectors_cpu import VECTORS

_COMMON = r"""
constexpr bool DENSITY = @DENSITY@, SUMMED = @SUMMED@;
struct Parts {
    R x[WIDTH];
    void set(int k, V v) { *(P*)(x + k) = __builtin_convertvector(v, P); }
    Line line() const { return *(const AnyLine*)x; }
};
"""

_FORWARD = r"""
each_ray([&](long long r, long long first, long long end) {
    Segment of_sigmas, of_starts, of_ends, of_alphas, of_trans, of_weights;
    V T = one, total{}, depth{};
    for (long long i = first; i < end; i += SEGMENT) {
        const int n = end - i < SEGMENT ? end - i : SEGMENT;
        const R* const starts = view(t_starts, i, n, of_starts);
        const R* const ends = view(t_ends, i, n, of_ends);
        const R* alpha_at;
        if constexpr (DENSITY) {
            const R* const sigma = view(sigmas, i, n, of_sigmas);
            for (int k = 0; k < n; k += WIDTH)
                *(AnyLine*)(of_alphas.x + k) = opacity(exponential(wide(sigma + k) * (wide(ends + k) - wide(starts + k))));
            put_all(alphas.data + i, alpha_at = of_alphas.x, n);
        } else {
            alpha_at = view(alphas, i, n, of_alphas);
        }
        const bool direct = n % WIDTH == 0 && (!far || (aligned(trans.data + i) && aligned(weights.data + i)));
        R* const trans_to = direct ? trans.data + i : of_trans.x;
        R* const weights_to = direct ? weights.data + i : of_weights.x;
        for (int k = 0; k < n; k += WIDTH) {
            Parts before, weight;
            for (int h = 0; h < WIDTH; h += LANES) {
                const V alpha = load(alpha_at + k + h);
                const V passed = passing(T, 1.0 - alpha), w = passed * alpha;
                before.set(h, passed);
                weight.set(h, w);
                if constexpr (SUMMED) {
                    total += w;
                    depth += w * (0.5 * (load(starts + k + h) + load(ends + k + h)));
                }
            }
            put(trans_to + k, before.line(), far && direct);
            put(weights_to + k, weight.line(), far && direct);
        }
        if (!direct) put_all(trans.data + i, of_trans.x, n), put_all(weights.data + i, of_weights.x, n);
    }
    if (SUMMED) sums.data[2 * r] = sum(total), sums.data[2 * r + 1] = sum(depth);
});
"""

_ADJOINT = r"""
const bool by_ends = v_ends.data;
each_ray([&](long long r, long long first, long long end) {
    const double v_total = SUMMED ? v_sums.data[2 * r] : 0, v_depth = SUMMED ? v_sums.data[2 * r + 1] : 0;
    Segment of_sigmas, of_starts, of_ends, of_alphas, of_trans, of_v_weights, of_v_trans, of_v_alphas;
    Segment of_decay, of_v_input, of_v_starts, of_v_ends;
    V behind{};  // B of the last of the samples in work, in all lanes
    for (long long i = end; i > first;) {
        const int n = (i - first - 1) % SEGMENT + 1;
        i -= n;
        const R* const sigma_at = view(sigmas, i, n, of_sigmas);
        const R* const starts_at = view(t_starts, i, n, of_starts);
        const R* const ends_at = view(t_ends, i, n, of_ends);
        const R* const alpha_at = view(alphas, i, n, of_alphas);
        const R* const trans_at = view(trans, i, n, of_trans);
        const R* const v_weight_at = view(v_weights, i, n, of_v_weights);
        const R* const v_trans_at = view(v_trans, i, n, of_v_trans);
        const R* const v_alpha_at = view(v_alphas_out, i, n, of_v_alphas);
        if constexpr (DENSITY)
            for (int k = 0; k < n; k += WIDTH) {
                const Line s = wide(sigma_at + k) * (wide(ends_at + k) - wide(starts_at + k));
                *(AnyLine*)(of_decay.x + k) = decay(exponential(s), s);
            }
        const bool direct = n % WIDTH == 0 && (!far || aligned(v_input.data + i));
        R* const v_input_to = direct ? v_input.data + i : of_v_input.x;
        for (int k = (n - 1) / WIDTH * WIDTH; k >= 0; k -= WIDTH) {
            Parts input, by_start, by_end;
            for (int h = WIDTH - LANES; h >= 0; h -= LANES) {
                const V starts = load(starts_at + k + h), ends = load(ends_at + k + h);
                const V alpha = load(alpha_at + k + h), T = load(trans_at + k + h);
                V v_weight = load(v_weight_at + k + h);
                if (SUMMED) v_weight += v_total + v_depth * (0.5 * (starts + ends));
                const V u = load(v_trans_at + k + h) + v_weight * alpha;
                V v_alpha = T * (v_weight - worth_behind(behind, 1.0 - alpha, u));
                V v_end{};
                if constexpr (DENSITY) {
                    v_alpha = (v_alpha + load(v_alpha_at + k + h)) * load(of_decay.x + k + h);  // dL/d(sigma delta)
                    v_end = v_alpha * load(sigma_at + k + h);
                    v_alpha *= ends - starts;
                }
                input.set(h, v_alpha);
                if (by_ends) {
                    const V middle = 0.5 * v_depth * T * alpha;
                    by_start.set(h, middle - v_end);
                    by_end.set(h, middle + v_end);
                }
            }
            put(v_input_to + k, input.line(), far && direct);
            if (by_ends) put(of_v_starts.x + k, by_start.line(), false), put(of_v_ends.x + k, by_end.line(), false);
        }
        if (!direct) put_all(v_input.data + i, of_v_input.x, n);
        if (by_ends) put_all(v_starts.data + i, of_v_starts.x, n), put_all(v_ends.data + i, of_v_ends.x, n);
    }
});
"""


@once
def _kernels(real, density: bool, summed: bool):
    """Kernels ``(forward, adjoint)`` of densities or opacities, with or without sums; arrays of length zero stand for
    what is not given or not wanted."""
    module = f"semaflow_weights_{real.__name__}_{density:d}{summed:d}"

    def made(name: str, source: str, *names: str):
        arguments = dict.fromkeys(names, wp.array(dtype=real))
        marks = {"DENSITY": f"{density:d}", "SUMMED": f"{summed:d}"}
        return rays_kernel(name, module, VECTORS + _COMMON + source, real, arguments, **marks)

    known = ("sigmas", "t_starts", "t_ends", "alphas")
    incoming = ("v_weights", "v_trans", "v_alphas_out", "v_sums")
    return (
        made("weights", _FORWARD, *known, "weights", "trans", "sums"),
        made("weights_adjoint", _ADJOINT, *known, "trans", *incoming, "v_input", "v_starts", "v_ends"),
    )


def weights_cpu(rays: Rays, arguments: list[Tensor | None]) -> None:
    """Weights, as :func:`.weights_cuda.weights_cuda` has it."""
    _launch(0, rays, arguments, arguments[6] is not None)


def weights_cpu_adjoint(rays: Rays, arguments: list[Tensor | None]) -> None:
    """Their adjoint, as :func:`.weights_cuda.weights_cuda_adjoint` has it."""
    _launch(1, rays, arguments, arguments[8] is not None)


def _launch(which: int, rays: Rays, arguments: list[Tensor | None], summed: bool) -> None:
    alphas = arguments[3]
    kernel = _kernels(bridge.REAL[alphas.dtype], arguments[0] is not None, summed)[which]
    launch_rays(kernel, rays, 8 * alphas.nbytes, [bridge.flat(x) for x in arguments])
