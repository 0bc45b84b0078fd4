"""Weights of samples along a ray, and their adjoint, on the CPU: C++ with vectors of samples.

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
constexpr bool DOUBLE = sizeof(R) == 8, DENSITY = @DENSITY@, SUMMED = @SUMMED@;
"""

_VECTORS = r"""
constexpr int LANES = 4, WIDTH = 32 / sizeof(R);  // of the two kinds of vectors
constexpr int SEGMENT = 64;  // samples that are read, and written, at once
struct Segment { R x[SEGMENT]; };
typedef double V __attribute__((vector_size(32)));
typedef R P __attribute__((vector_size(LANES * sizeof(R)), aligned(sizeof(R))));
struct Parts {
    R x[WIDTH];
    void set(int k, V v) { *(P*)(x + k) = __builtin_convertvector(v, P); }
    Line line() const { return *(const AnyLine*)x; }
};
typedef R W __attribute__((vector_size(32)));
typedef R AnyW __attribute__((vector_size(32), aligned(sizeof(R))));
const V zero{}, one = V{} + 1.0;
auto load = [](const R* p) -> V { return __builtin_convertvector(*(const P*)p, V); };
auto wide = [](const R* p) -> W { return *(const AnyW*)p; };
auto sum = [](V x) { return (x[0] + x[1]) + (x[2] + x[3]); };
// The n samples from i on, and zeros up to a whole number of vectors, which may need a copy; zeros of no array.
const Segment nothing{};
auto view = [&](auto& array, long long i, int n, Segment& copy) -> const R* {
    if (!array.data) return nothing.x;
    if (n % WIDTH == 0) return array.data + i;
    for (int k = n; k % WIDTH; k++) copy.x[k] = 0;
    for (int k = 0; k < n; k++) copy.x[k] = array.data[i + k];
    return copy.x;
};
// exp(-s) = scale (1 + rest), with scale a power of two and rest = exp(f) - 1, |f| < log(2) / 2, by its series.
constexpr R HIGHEST = DOUBLE ? 708 : 87;  // beyond, exp(-s) is nothing
struct Exp { W scale, rest; };
auto exponential = [](W s) -> Exp {
    typedef @WHOLE@ M __attribute__((vector_size(32)));
    constexpr R LOWEST = DOUBLE ? -710 : -89;  // from there on it is infinite
    constexpr R MAGIC = DOUBLE ? 6755399441055744. : 12582912.;  // adding it rounds to whole numbers
    constexpr R LN2 = DOUBLE ? 0.69314718036912382 : 0.693145751953125;  // log(2) is LN2 + REST
    constexpr R REST = DOUBLE ? 1.9082149292705877e-10 : 1.428606765330187e-6;
    constexpr int BITS = DOUBLE ? 52 : 23, BIAS = DOUBLE ? 1023 : 127, TERMS = DOUBLE ? 13 : 7;
    constexpr double factors[] = {1., 2., 6., 24., 120., 720., 5040., 40320., 362880., 3628800., 39916800., 479001600.,
                                  6227020800.};
    const W highest = W{} + HIGHEST, lowest = W{} + LOWEST;
    s = s > highest ? highest : s;  // what is no number remains so
    s = s < lowest ? lowest : s;
    const W shifted = s * R(-1.4426950408889634) + MAGIC, whole = shifted - MAGIC;
    const W f = (-s - whole * LN2) - whole * REST;
    W series = W{} + R(1 / factors[TERMS - 1]);
    for (int k = TERMS - 2; k >= 0; k--) series = series * f + R(1 / factors[k]);
    return {(W)(((M)shifted + BIAS) << BITS), series * f};
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
            for (int k = 0; k < n; k += WIDTH) {
                const Exp e = exponential(wide(sigma + k) * (wide(ends + k) - wide(starts + k)));
                *(AnyW*)(of_alphas.x + k) = (R(1) - e.scale) - e.scale * e.rest;
            }
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
                V p = 1.0 - alpha;
                p *= __builtin_shufflevector(p, one, 4, 0, 1, 2);
                p *= __builtin_shufflevector(p, one, 4, 5, 0, 1);
                const V passed = T * __builtin_shufflevector(p, one, 4, 0, 1, 2), w = passed * alpha;
                before.set(h, passed);
                weight.set(h, w);
                if constexpr (SUMMED) {
                    total += w;
                    depth += w * (0.5 * (load(starts + k + h) + load(ends + k + h)));
                }
                T *= __builtin_shufflevector(p, p, 3, 3, 3, 3);
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
    Segment decay, of_v_input, of_v_starts, of_v_ends;
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
                const W s = wide(sigma_at + k) * (wide(ends_at + k) - wide(starts_at + k));
                const Exp e = exponential(s);
                *(AnyW*)(decay.x + k) = s > W{} + HIGHEST ? W{} : e.scale + e.scale * e.rest;
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
                V m = 1.0 - alpha, u = load(v_trans_at + k + h) + v_weight * alpha;
                u += m * __builtin_shufflevector(u, zero, 1, 2, 3, 4);
                m *= __builtin_shufflevector(m, one, 1, 2, 3, 4);
                u += m * __builtin_shufflevector(u, zero, 2, 3, 4, 5);
                m *= __builtin_shufflevector(m, one, 2, 3, 4, 5);
                const V in_front = u + m * behind;  // B of the samples before these
                V v_alpha = T * (v_weight - __builtin_shufflevector(in_front, behind, 1, 2, 3, 4));
                behind = __builtin_shufflevector(u, u, 0, 0, 0, 0) + __builtin_shufflevector(m, m, 0, 0, 0, 0) * behind;
                V v_end{};
                if constexpr (DENSITY) {
                    v_alpha = (v_alpha + load(v_alpha_at + k + h)) * load(decay.x + k + h);  // dL/d(sigma delta)
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
    single = real is wp.float32
    marks = {"REAL": "float" if single else "double", "WHOLE": "int32_t" if single else "int64_t"}
    marks |= {"DENSITY": f"{density:d}", "SUMMED": f"{summed:d}"}
    module = f"semaflow_weights_{real.__name__}_{density:d}{summed:d}"

    def made(name: str, source: str, *names: str):
        source = _COMMON + EACH_RAY + _VECTORS + source
        for mark, text in marks.items():
            source = source.replace(f"@{mark}@", text)
        return kernel(name, module, source, RAYS | dict.fromkeys(names, wp.array(dtype=real)) | TASKS)

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
