"""Sums of many channels along rays, on the CPU: C++ with vectors of channels, at the speed of memory.

``out_k[r, d] = sum_i w_k[i] values[i, d]`` over the samples i of ray r, for one or two sets of weights k at once;
``v_values[i] = sum_k w_k[i] v_out_k[r]``, ``v_w_k[i] = values[i] . v_out_k[r]``. A sample of weight zero adds nothing,
whatever its value. Forward, a ray is taken by segments, whose sums stay in registers block of channels by block of
channels, so that the values come from memory once and a long ray loses few digits; backward goes sample by sample. A
last block of channels that is no whole vector overlaps the one before it and is masked; fewer channels than a vector
has lanes are scalars.
"""

from collections.abc import Sequence

import torch
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
constexpr int SETS = @SETS@, LANES = 32 / sizeof(R), SEGMENT = 64;
typedef R V __attribute__((vector_size(LANES * sizeof(R))));
typedef R VU __attribute__((vector_size(LANES * sizeof(R)), aligned(sizeof(R))));
struct Vec {
    static inline V load(const R* p) { return *(const VU*)p; }
    static inline void store(R* p, V x) { *(VU*)p = x; }
    static inline R sum(V x) {
        R total = 0;
        for (int i = 0; i < LANES; i++) total += x[i];
        return total;
    }
    // 1 for the last n lanes, 0 for the others.
    static inline V last(int n) {
        V mask;
        for (int i = 0; i < LANES; i++) mask[i] = i >= LANES - n;
        return mask;
    }
};
struct N1 { char x[1]; }; struct N2 { char x[2]; }; struct N3 { char x[3]; }; struct N4 { char x[4]; };
struct N5 { char x[5]; }; struct N6 { char x[6]; }; struct N7 { char x[7]; }; struct N8 { char x[8]; };
// Calls body(number) with a type whose size is the number of channels, which are fewer than lanes.
auto few = [&](auto body) {
    switch (channels) {
        case 1: body(N1{}); break;
        case 2: body(N2{}); break;
        case 3: body(N3{}); break;
        case 4: body(N4{}); break;
        case 5: body(N5{}); break;
        case 6: body(N6{}); break;
        case 7: body(N7{}); break;
    }
};
// Calls body(vectors, first channel, mask) for blocks that cover all channels.
auto blocks = [&](auto body) {
    const V all = V{} + R(1);
    int c = 0;
    for (; c + 8 * LANES <= channels; c += 8 * LANES) body(N8{}, c, all);
    for (; c + 4 * LANES <= channels; c += 4 * LANES) body(N4{}, c, all);
    for (; c + LANES <= channels; c += LANES) body(N1{}, c, all);
    if (c < channels) body(N1{}, channels - LANES, Vec::last(channels - c));
};
const R one = 1;
const long long stride = values.data ? channels : 0;
const R* const from = values.data ? values.data : &one;
"""

_SEGMENTS = r"""
// Calls body(ray, first sample, number of samples) for the segments of each ray, after begin(ray).
auto segments = [&](auto begin, auto body) {
    each_ray([&](long long r, long long first, long long end) {
        begin(r);
        for (long long i = first; i < end; i += SEGMENT) body(r, i, end - i < SEGMENT ? end - i : SEGMENT);
    });
};
"""

_FORWARD = r"""
R* const out[] = {@OUT@};
const R* const weight[] = {@WEIGHT@};
segments(
    [&](long long r) { for (int k = 0; k < SETS; k++) __builtin_memset(out[k] + r * channels, 0, sizeof(R) * channels); },
    [&](long long r, long long i, int n) {
        const R* const p = from + i * stride;
        R* to[SETS];
        const R* w[SETS];
        for (int k = 0; k < SETS; k++) to[k] = out[k] + r * channels, w[k] = weight[k] + i;
        auto nothing = [&](int j) { return w[0][j] == R(0) && w[SETS - 1][j] == R(0); };
        if (channels < LANES)
            few([&](auto number) {
                constexpr int D = sizeof(number);
                constexpr int ROWS = 4;  // sums side by side, since one would wait for the addition before
                R sum[ROWS][SETS][D] = {};
                for (int j = 0; j < n; j += ROWS)
                    for (int r = 0; r < ROWS; r++) {
                        if (j + r >= n || nothing(j + r)) continue;
                        for (int k = 0; k < SETS; k++)
                            for (int d = 0; d < D; d++) sum[r][k][d] += w[k][j + r] * p[(j + r) * stride + d];
                    }
                for (int k = 0; k < SETS; k++)
                    for (int d = 0; d < D; d++) to[k][d] += (sum[0][k][d] + sum[1][k][d]) + (sum[2][k][d] + sum[3][k][d]);
            });
        else
            blocks([&](auto vectors, int c, V mask) {
                constexpr int NV = sizeof(vectors);
                V sum[SETS][NV] = {};
                for (int j = 0; j < n; j++) {
                    if (nothing(j)) continue;
                    V x[NV];
                    for (int v = 0; v < NV; v++) x[v] = Vec::load(p + j * stride + c + v * LANES);
                    for (int k = 0; k < SETS; k++)
                        for (int v = 0; v < NV; v++) sum[k][v] += w[k][j] * x[v];
                }
                for (int k = 0; k < SETS; k++)
                    for (int v = 0; v < NV; v++) {
                        R* q = to[k] + c + v * LANES;
                        Vec::store(q, Vec::load(q) + mask * sum[k][v]);
                    }
            });
    });
"""

_ADJOINT = r"""
const R* const v_out[] = {@V_OUT@};
const R* const weight[] = {@WEIGHT@};
R* const v_weight[] = {@V_WEIGHT@};
const bool dots = v_weight[0] != nullptr, outer = v_values.data != nullptr;
const bool past = far && channels % LANES == 0 && aligned(v_values.data);
segments([](long long) {}, [&](long long r, long long i, int n) {
    const R* const p = from + i * stride;
    R* const q = v_values.data + i * stride;
    const R* g[SETS];
    const R* w[SETS];
    for (int k = 0; k < SETS; k++) g[k] = v_out[k] + r * channels, w[k] = weight[k] + i;
    if (channels < LANES)
        few([&](auto number) {
            constexpr int D = sizeof(number);
            R v[SETS][D];
            for (int k = 0; k < SETS; k++)
                for (int d = 0; d < D; d++) v[k][d] = g[k][d];
            // The number of channels is known here, so that samples go side by side in vectors.
            if (dots)
                for (int k = 0; k < SETS; k++) {
                    R to[SEGMENT];
                    for (int j = 0; j < n; j++) {
                        R dot = 0;
                        for (int d = 0; d < D; d++) dot += v[k][d] * (stride ? p[j * D + d] : one);
                        to[j] = dot;
                    }
                    put_all(v_weight[k] + i, to, n);
                }
            if (outer) {
                R to[SEGMENT * D];
                for (int j = 0; j < n; j++)
                    for (int d = 0; d < D; d++) {
                        R x = 0;
                        for (int k = 0; k < SETS; k++) x += w[k][j] * v[k][d];
                        to[j * D + d] = x;
                    }
                put_all(q, to, n * D);
            }
        });
    else
        for (int j = 0; j < n; j++) {
            const R* const x = p + j * stride;
            R* const y = q + j * stride;
            V dot[SETS] = {};
            blocks([&](auto vectors, int c, V mask) {
                for (int m = c; m < c + (int)sizeof(vectors) * LANES; m += LANES) {
                    V v{};
                    for (int k = 0; k < SETS; k++) {
                        const V gradient = Vec::load(g[k] + m);
                        if (dots) dot[k] += mask * gradient * Vec::load(x + m);
                        v += w[k][j] * gradient;
                    }
                    if (outer) put(y + m, v, past);
                }
            });
            if (dots)
                for (int k = 0; k < SETS; k++) v_weight[k][i + j] = Vec::sum(dot[k]);
        }
});
"""


@once
def _kernels(real, sets: int):
    """Kernels ``(forward, adjoint)`` for so many sets of weights."""
    module = f"semaflow_accumulate_{real.__name__}_{sets}"
    reals = wp.array(dtype=real)

    def each(name: str) -> dict:
        return {f"{name}{k}": reals for k in range(sets)}

    def listed(name: str) -> str:
        return ", ".join(f"{argument}.data" for argument in each(name))

    def made(name: str, source: str, arguments: dict):
        source = _COMMON + EACH_RAY + _SEGMENTS + source
        marks = {"REAL": "float" if real is wp.float32 else "double", "SETS": str(sets)}
        marks |= {n.upper(): listed(n) for n in ("out", "weight", "v_out", "v_weight")}
        for mark, text in marks.items():
            source = source.replace(f"@{mark}@", text)
        return kernel(name, module, source, RAYS | {"channels": int, "values": reals} | arguments | TASKS)

    weights = each("weight")
    return (
        made("accumulate", _FORWARD, weights | each("out")),
        made("accumulate_adjoint", _ADJOINT, weights | each("v_out") | {"v_values": reals} | each("v_weight")),
    )


def _launch(kernel, rays: Rays, values: Tensor | None, channels: int, arguments: Sequence[Tensor | None]) -> None:
    size = 2 * arguments[0].nbytes * (channels + 1)
    launch_rays(kernel, rays, size, [channels, bridge.flat(values), *(bridge.flat(x) for x in arguments)])


def accumulate_cpu(rays: Rays, values: Tensor | None, weights: Sequence[Tensor]) -> list[Tensor]:
    """Sums [R, D] of ``values`` [N, D] for each of the ``weights`` [N]; None for values is ones [N, 1]."""
    channels = 1 if values is None else values.shape[1]
    out = [w.new_empty(rays.count, channels) for w in weights]
    if channels:
        _launch(_kernels(bridge.REAL[weights[0].dtype], len(weights))[0], rays, values, channels, [*weights, *out])
    return out


def accumulate_cpu_adjoint(
    rays: Rays, values: Tensor | None, weights: Sequence[Tensor], v_sums: Sequence[Tensor], want: tuple[bool, bool]
) -> tuple[Tensor | None, list[Tensor | None]]:
    """Gradients of the values and of each of the weights, as far as they are wanted."""
    channels = v_sums[0].shape[1]
    v_values = rays.per_sample(weights[0], channels) if want[0] else None
    v_weights = [rays.per_sample(w) if want[1] else None for w in weights]
    if channels:
        arguments = [*weights, *v_sums, v_values, *v_weights]
        _launch(_kernels(bridge.REAL[weights[0].dtype], len(weights))[1], rays, values, channels, arguments)
    elif want[1]:
        v_weights = [torch.zeros_like(w) for w in weights]
    return v_values, v_weights
