"""The joint rendering of a dynamic and a static field, on the CPU: C++ with vectors of samples, and of channels.

:mod:`.blend_cuda` has the equations. All is done for a segment of a ray while that lies in the nearest cache: weights and
the sums of all values forward; backward the weights again, the gradients that they get from the sums, and the scans back
to front. Transmittances at the beginnings of segments are kept where gradients will be, by a pass front to back over rays
of more than one segment. State is float64, as long rays would lose digits. Samples that fill no vector are filled up with
empty ones, which change nothing.
"""

import torch
import warp as wp
from torch import Tensor

from .. import bridge
from ..once import once
from .blend_cuda import COLUMNS
from .rays import Rays
from .sums_cpu import SUMS
from .tasks_cpu import launch_rays, rays_kernel
from .vectors_cpu import VECTORS

SAMPLES = ("dynamic", "static_", "blend", "depths", "deltas")

_SETS = r"""
constexpr int SETS = 2;  // what a field shows goes into the joint rendering, and into its own
"""

_COMMON = r"""
constexpr bool DENSITY = @DENSITY@, LIMITED = @LIMITED@;
constexpr double LEFT_OUT = -1.7e308;  // in place of the transmittance of a sample that is left out
constexpr int COLUMNS = @COLUMNS@;  // of the sums of a ray
typedef long long M __attribute__((vector_size(32)));
auto where = [](M mask, V x) -> V { return (V)(mask & (M)x); };
// What the fields are at the samples of a segment.
struct Samples {
    const R *dynamic, *static_, *blend, *depth, *delta, *opaque_dynamic, *opaque_static;
    Segment copies[5], opaque[2], decays[2];
};
auto read = [&](Samples& at, long long i, int n, bool decays) {
    at.opaque_dynamic = at.dynamic = view(dynamic, i, n, at.copies[0]);
    at.opaque_static = at.static_ = view(static_, i, n, at.copies[1]);
    at.blend = view(blend, i, n, at.copies[2]);
    at.depth = view(depths, i, n, at.copies[3]);
    if constexpr (DENSITY) {
        at.delta = view(deltas, i, n, at.copies[4]);
        for (int k = 0; k < n; k += WIDTH)
            for (int m = 0; m < 2; m++) {
                const Line s = wide((m ? at.static_ : at.dynamic) + k) * wide(at.delta + k);
                const Exp e = exponential(s);
                *(AnyLine*)(at.opaque[m].x + k) = opacity(e);
                if (decays) *(AnyLine*)(at.decays[m].x + k) = decay(e, s);
            }
        at.opaque_dynamic = at.opaque[0].x, at.opaque_static = at.opaque[1].x;
    }
};
// Four samples. T, before each of them: in the joint rendering, of the dynamic, of the static field.
struct Four { V dynamic, static_, p, q, T[3]; };
// Goes through four samples, front to back; T in front of them becomes that behind them.
auto look = [&](const Samples& at, int k, V (&T)[3]) -> Four {
    const V d = load(at.opaque_dynamic + k), s = load(at.opaque_static + k), b = load(at.blend + k);
    Four four{d, s, d * b, s * (1.0 - b)};
    if constexpr (LIMITED) {
        const V cover[] = {four.p + four.q - four.p * four.q, d, s};
        M kept[3];
        for (int m = 0; m < 3; m++) kept[m] = ~(cover[m] < V{} + least);  // so is what is no number
        four.p = where(kept[0], four.p), four.q = where(kept[0], four.q);
        four.dynamic = where(kept[1], d), four.static_ = where(kept[2], s);
        const V passes[] = {(1.0 - four.p) * (1.0 - four.q), 1.0 - four.dynamic, 1.0 - four.static_};
        for (int m = 0; m < 3; m++) {
            four.T[m] = passing(T[m], passes[m]);
            // Behind the first sample with too little transmittance in front, there is none.
            const M all = (M)(zero == zero);
            M seen = ~(four.T[m] < V{} + stop);
            seen &= __builtin_shufflevector(seen, all, 4, 0, 1, 2);
            seen &= __builtin_shufflevector(seen, all, 4, 5, 0, 1);
            if (!seen[3]) T[m] = V{} - 1.0;
            kept[m] &= seen;
            four.T[m] = kept[m] ? four.T[m] : V{} + LEFT_OUT;
        }
    } else {
        four.T[0] = passing(T[0], (1.0 - four.p) * (1.0 - four.q));
        four.T[1] = passing(T[1], 1.0 - d);
        four.T[2] = passing(T[2], 1.0 - s);
    }
    return four;
};
auto weigh = [&](V T, V share) -> V { return LIMITED ? where(~(T == V{} + LEFT_OUT), T * share) : T * share; };
// Weights of four samples: of both fields in the joint rendering, of each alone.
struct Weights { R x[4][SEGMENT]; };
struct Quad { V x[4]; };
auto weights_of = [&](const Four& four, int k, Weights& to) -> Quad {
    const Quad w{weigh(four.T[0], four.p), weigh(four.T[0], four.q), weigh(four.T[1], four.dynamic), weigh(four.T[2], four.static_)};
    for (int m = 0; m < 4; m++) *(P*)(to.x[m] + k) = __builtin_convertvector(w.x[m], P);
    return w;
};
"""

# A row of the table has the number of channels, and addresses: of the values of both fields, and of the sums of the joint
# rendering, the dynamic, the static field.
_FORWARD = r"""
each_ray([&](long long r, long long first, long long end) {
    auto each_name = [&](auto body) {
        for (const int64_t* row = table.data; row < table.data + 6 * names; row += 6) {
            const long long channels = row[0];
            R* const to[] = {(R*)row[3] + r * channels, (R*)row[4] + r * channels, (R*)row[5] + r * channels};
            body(channels, (const R*)row[1], (const R*)row[2], to);
        }
    };
    each_name([&](long long channels, const R*, const R*, R* const* to) {
        for (int m = 0; m < 3; m++) __builtin_memset(to[m], 0, sizeof(R) * channels);
    });
    V T[3] = {one, one, one}, total[3] = {}, depth[3] = {}, dynamicness{};
    Samples at;
    Weights w;
    for (long long i = first; i < end; i += SEGMENT) {
        const int n = end - i < SEGMENT ? end - i : SEGMENT;
        read(at, i, n, false);
        for (int k = 0; k < n; k += LANES) {
            const Quad four = weights_of(look(at, k, T), k, w);
            const V z = load(at.depth + k), shown[] = {four.x[0] + four.x[1], four.x[2], four.x[3]};
            for (int m = 0; m < 3; m++) total[m] += shown[m], depth[m] += shown[m] * z;
            dynamicness += shown[0] * load(at.blend + k);
        }
        put_all(joint_dynamic.data + i, w.x[0], n), put_all(joint_static.data + i, w.x[1], n);
        put_all(alone_dynamic.data + i, w.x[2], n), put_all(alone_static.data + i, w.x[3], n);
        each_name([&](long long channels, const R* x_dynamic, const R* x_static, R* const* to) {
            const R* const of_dynamic[] = {w.x[0], w.x[2]};
            const R* const of_static[] = {w.x[1], w.x[3]};
            R* const to_static[] = {to[0], to[2]};
            add_values(n, channels, channels, x_dynamic + i * channels, of_dynamic, to);
            add_values(n, channels, channels, x_static + i * channels, of_static, to_static);
        });
    }
    for (int m = 0; m < 3; m++) {
        sums.data[COLUMNS * r + 2 * m] = sum(total[m]);
        sums.data[COLUMNS * r + 2 * m + 1] = sum(depth[m]);
    }
    sums.data[COLUMNS * r + 6] = sum(dynamicness);
});
"""

# A row of the table goes on with addresses of the gradients of the values of both fields, 0 where these are not wanted;
# the sums' place is taken by their gradients.
_ADJOINT = r"""
struct Gradient : Segment {
    void set(int k, V v) { *(P*)(x + k) = __builtin_convertvector(v, P); }
};
const R* const v_weights[] = {v_joint_dynamic.data, v_joint_static.data, v_alone_dynamic.data, v_alone_static.data};
R* const gradients[] = {v_dynamic.data, v_static_.data, v_blend.data, v_depths.data, v_deltas.data};
each_ray([&](long long r, long long first, long long end) {
    Samples at;
    V T[3] = {one, one, one};
    // Each of these segments is full; the transmittance behind it goes to its place in v_dynamic.
    for (long long i = first; i + SEGMENT < end; i += SEGMENT) {
        read(at, i, SEGMENT, false);
        for (int k = 0; k < SEGMENT; k += LANES) look(at, k, T);
        const double behind[] = {T[0][0], T[1][0], T[2][0]};
        __builtin_memcpy(v_dynamic.data + i, behind, sizeof(behind));
    }
    double v[COLUMNS];
    for (int m = 0; m < COLUMNS; m++) v[m] = v_sums.data[COLUMNS * r + m];
    Weights w, v_w;
    Four fours[SEGMENT / LANES];
    Gradient found[5];
    V behind[3] = {};  // B of the last of the samples in work, in all lanes
    for (long long i = end; i > first;) {
        const int n = (i - first - 1) % SEGMENT + 1;
        i -= n;
        if (i > first) {
            double before[3];
            __builtin_memcpy(before, v_dynamic.data + i - SEGMENT, sizeof(before));
            for (int m = 0; m < 3; m++) T[m] = V{} + before[m];
        } else {
            for (int m = 0; m < 3; m++) T[m] = one;
        }
        read(at, i, n, true);
        for (int k = 0; k < n; k += LANES) weights_of(fours[k / LANES] = look(at, k, T), k, w);
        for (int m = 0; m < 4; m++) {
            __builtin_memset(v_w.x[m], 0, sizeof(v_w.x[m]));
            if (v_weights[m]) __builtin_memcpy(v_w.x[m], v_weights[m] + i, sizeof(R) * n);
        }
        for (const int64_t* row = table.data; row < table.data + 8 * names; row += 8) {
            const long long channels = row[0];
            for (int m = 0; m < 2; m++) {
                const R* const weights[] = {w.x[m], w.x[2 + m]};
                const R* const g[] = {(const R*)row[3] + r * channels, (const R*)row[4 + m] + r * channels};
                R* const to[] = {v_w.x[m], v_w.x[2 + m]};
                values_adjoint(n, channels, channels, (const R*)row[1 + m] + i * channels, weights, g, to,
                               row[6 + m] ? (R*)row[6 + m] + i * channels : nullptr);
            }
        }
        for (int k = (n - 1) / LANES * LANES; k >= 0; k -= LANES) {
            const Four& four = fours[k / LANES];
            const V b = load(at.blend + k), z = load(at.depth + k);
            auto v_weight = [&](int m, V v) -> V {
                v += load(v_w.x[m] + k);
                return LIMITED ? where(~(four.T[m < 2 ? 0 : m - 1] == V{} + LEFT_OUT), v) : v;
            };
            const V v_both = v[0] + v[1] * z + v[6] * b;
            const V v_d = v_weight(0, v_both), v_s = v_weight(1, v_both);
            const V clear_p = 1.0 - four.p, clear_q = 1.0 - four.q;
            const V B = worth_behind(behind[0], clear_p * clear_q, v_d * four.p + v_s * four.q);
            const V v_p = weigh(four.T[0], v_d - clear_q * B), v_q = weigh(four.T[0], v_s - clear_p * B);
            const V shown = weigh(four.T[0], four.p + four.q);
            V by_depth = v[1] * shown, by_dynamic = v_p * b, by_static = v_q * (1.0 - b);
            const V by_blend = v_p * load(at.opaque_dynamic + k) - v_q * load(at.opaque_static + k) + v[6] * shown;
            auto alone = [&](int m, V opaque) -> V {
                const V v_alone = v_weight(m + 1, v[2 * m] + v[2 * m + 1] * z);
                by_depth += v[2 * m + 1] * weigh(four.T[m], opaque);
                const V B = worth_behind(behind[m], 1.0 - opaque, v_alone * opaque);
                return weigh(four.T[m], v_alone - B);
            };
            by_dynamic += alone(1, four.dynamic);
            by_static += alone(2, four.static_);
            if constexpr (DENSITY) {
                const V delta = load(at.delta + k);
                by_dynamic *= load(at.decays[0].x + k), by_static *= load(at.decays[1].x + k);  // dL/d(density delta)
                found[4].set(k, by_dynamic * load(at.dynamic + k) + by_static * load(at.static_ + k));
                by_dynamic *= delta, by_static *= delta;
            }
            found[0].set(k, by_dynamic), found[1].set(k, by_static), found[2].set(k, by_blend), found[3].set(k, by_depth);
        }
        for (int m = 0; m < 5; m++)
            if (gradients[m]) put_all(gradients[m] + i, found[m].x, n);
    }
});
"""


@once
def _kernels(real, density: bool, limited: bool):
    """Kernels ``(forward, adjoint)`` of densities or opacities, with or without limits; arrays of length zero stand for
    what is not given or not wanted."""
    reals = wp.array(dtype=real)
    module = f"semaflow_blend_{real.__name__}_{density:d}{limited:d}"

    def made(name: str, source: str, *names: str):
        arguments = dict.fromkeys((*SAMPLES, *names), reals)
        arguments |= {"stop": wp.float64, "least": wp.float64, "names": int, "table": wp.array(dtype=wp.int64)}
        marks = {"DENSITY": f"{density:d}", "LIMITED": f"{limited:d}", "COLUMNS": COLUMNS}
        return rays_kernel(name, module, VECTORS + _SETS + SUMS + _COMMON + source, real, arguments, **marks)

    weights = ("joint_dynamic", "joint_static", "alone_dynamic", "alone_static")
    return (
        made("blend", _FORWARD, *weights, "sums"),
        made("blend_adjoint", _ADJOINT, *(f"v_{w}" for w in weights), "v_sums", *(f"v_{x}" for x in SAMPLES)),
    )


def _launch(which: int, rays: Rays, samples, others, limits: tuple[float, float], table: list[list]) -> None:
    like = samples[0]
    density, limited = samples[4] is not None, max(limits) > 0
    rows = [[x if isinstance(x, int) else 0 if x is None else x.data_ptr() for x in row] for row in table]
    size = like.nbytes * (8 + sum(2 * row[0] for row in table))
    arguments = [*(bridge.flat(x) for x in (*samples, *others)), *limits, len(rows)]
    kernel = _kernels(bridge.REAL[like.dtype], density, limited)[which]
    launch_rays(kernel, rays, size, [*arguments, bridge.flat(torch.tensor(rows, dtype=torch.int64))])


def blend_cpu(rays: Rays, samples, values, limits) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """What :func:`.blend_cuda.blend_cuda` gives."""
    like = samples[0]
    weights = [rays.per_sample(like) for _ in range(4)]
    sums = like.new_empty(rays.count, COLUMNS)
    layers = [like.new_empty(rays.count, x.shape[1]) for x in values[::2] for _ in range(3)]
    table = [[x.shape[1], x, y, *layers[3 * i : 3 * i + 3]] for i, (x, y) in enumerate(_pairs(values))]
    _launch(0, rays, samples, [*weights, sums], limits, table)
    return weights, sums, layers


def blend_cpu_adjoint(rays: Rays, samples, values, weights, limits, v_weights, v_sums, v_layers, want):
    """What :func:`.blend_cuda.blend_cuda_adjoint` gives."""
    like = samples[0]
    v_samples = [rays.per_sample(like) if k < 3 or want[k] else None for k in range(5)]
    v_values = [rays.per_sample(like, x.shape[1]) if want[5 + k] else None for k, x in enumerate(values)]
    table = [
        [x.shape[1], x, y, *v_layers[3 * i : 3 * i + 3], *v_values[2 * i : 2 * i + 2]]
        for i, (x, y) in enumerate(_pairs(values))
    ]
    _launch(1, rays, samples, [*v_weights, v_sums, *v_samples], limits, table)
    return v_samples, v_values


def _pairs(values):
    return zip(values[::2], values[1::2], strict=True)
