"""The joint rendering of a dynamic and a static field that fill the same samples, and its adjoint, on CUDA: for the
weights a thread takes a ray. The kernels run on the CPU too.

With opacities ``a_d``, ``a_s`` and blend b (Gao et al. 2021, DynNeRF; Tian et al. 2024, Semantic Flow): in the joint
rendering ``p = a_d b``, ``q = a_s (1 - b)``, ``w_d = T p``, ``w_s = T q``, ``T <- T (1 - p)(1 - q)``; for each field alone
``w = T a``, ``T <- T (1 - a)``. Dynamicness is ``sum_i (w_d + w_s) b``.

The backward pass goes through a ray twice: front to back for the three transmittances, which it keeps where the
gradients will be, then back to front as in :mod:`.weights_cuda`, in the joint rendering with
``dL/dp = T (v_d - (1 - q) B)``, ``dL/dq = T (v_s - (1 - p) B)``, ``B <- v_d p + v_s q + (1 - p)(1 - q) B``.

A sample is left out (weight 0, no gradient, no shadow) where its opacity is below ``least`` or the transmittance before
it below ``stop``, from the joint rendering and from each field's own separately.
"""

from torch import Tensor

from .. import bridge
from ..bridge import ti
from ..once import once
from .accumulate_cuda import accumulate_cuda, accumulate_cuda_adjoint
from .loops import RAYS, opacity_functions, or_nothing, spread, taichi_real
from .rays import Rays

# Columns of a ray's sums: opacity and depth of the joint rendering, of the dynamic field alone, of the static field
# alone; and dynamicness.
COLUMNS = 7
_LEFT_OUT = 3e38  # in place of the transmittance of a sample that is left out


@once
def _kernels(real):
    """Kernels ``(composite, adjoint)``; arrays of length zero stand for what is not given or not wanted."""
    reals = ti.types.ndarray(dtype=real, ndim=1)
    sums_type = ti.types.ndarray(dtype=real, ndim=2)
    opacity, decay = opacity_functions(real)
    vec3, vec4 = ti.types.vector(3, ti.f64), ti.types.vector(4, ti.f64)

    @ti.func
    def opacities(dynamic, static, delta, blend, density: ti.template()):
        # (a_d, a_s, p, q)
        d, s = dynamic, static
        if ti.static(density):
            d, s = opacity(dynamic * delta), opacity(static * delta)
        b = ti.cast(blend, ti.f64)
        return vec4(d, s, d * b, s * (1.0 - b))

    @ti.func
    def seen(T, o, stop, least):
        # 1 for each of the joint, dynamic and static rendering that the sample is not left out from.
        cover = vec3(o[2] + o[3] - o[2] * o[3], o[0], o[1])
        kept = vec3(1.0, 1.0, 1.0)
        for m in ti.static(range(3)):
            if T[m] < stop or cover[m] < least:
                kept[m] = 0.0
        return kept

    @ti.func
    def behind_sample(T, o, kept):
        joint = (1.0 - kept[0] * o[2]) * (1.0 - kept[0] * o[3])
        return T * vec3(joint, 1.0 - kept[1] * o[0], 1.0 - kept[2] * o[1])

    @ti.kernel
    def composite(
        rays: RAYS,
        spread: ti.i32,
        dynamic: reals,  # [N] densities, or opacities
        static: reals,
        blend: reals,
        depths: reals,
        deltas: reals,  # [N] with densities
        joint_dynamic: reals,  # [N] out, weights
        joint_static: reals,
        alone_dynamic: reals,
        alone_static: reals,
        sums: sums_type,  # [R, COLUMNS] out
        stop: ti.f64,
        least: ti.f64,
        density: ti.template(),
    ):
        for k in range(rays.shape[0] * spread):
            if k % spread == 0:
                ray = k // spread
                first, count = ti.cast(rays[ray, 0], ti.i32), ti.cast(rays[ray, 1], ti.i32)
                T = vec3(1.0, 1.0, 1.0)
                total, depth, dynamicness = vec3(0.0, 0.0, 0.0), vec3(0.0, 0.0, 0.0), ti.cast(0.0, ti.f64)
                for i in range(first, first + count):
                    delta = ti.cast(0.0, real)
                    if ti.static(density):
                        delta = deltas[i]
                    o = opacities(dynamic[i], static[i], delta, blend[i], density)
                    kept = seen(T, o, stop, least)
                    w_d, w_s = kept[0] * T[0] * o[2], kept[0] * T[0] * o[3]
                    alone = vec3(w_d + w_s, kept[1] * T[1] * o[0], kept[2] * T[2] * o[1])
                    joint_dynamic[i], joint_static[i] = ti.cast(w_d, real), ti.cast(w_s, real)
                    alone_dynamic[i], alone_static[i] = ti.cast(alone[1], real), ti.cast(alone[2], real)
                    total += alone
                    depth += alone * depths[i]
                    dynamicness += alone[0] * blend[i]
                    T = behind_sample(T, o, kept)
                for m in ti.static(range(3)):
                    sums[ray, 2 * m] = ti.cast(total[m], real)
                    sums[ray, 2 * m + 1] = ti.cast(depth[m], real)
                sums[ray, 6] = ti.cast(dynamicness, real)

    @ti.kernel
    def adjoint(
        rays: RAYS,
        spread: ti.i32,
        dynamic: reals,
        static: reals,
        blend: reals,
        depths: reals,
        deltas: reals,
        v_joint_dynamic: reals,  # [N], or nothing
        v_joint_static: reals,
        v_alone_dynamic: reals,
        v_alone_static: reals,
        v_sums: sums_type,  # [R, COLUMNS]
        v_dynamic: reals,  # [N] out
        v_static: reals,
        v_blend: reals,
        v_depths: reals,  # [N] out, or nothing
        v_deltas: reals,
        stop: ti.f64,
        least: ti.f64,
        density: ti.template(),
    ):
        for k in range(rays.shape[0] * spread):
            if k % spread == 0:
                ray = k // spread
                first, count = ti.cast(rays[ray, 0], ti.i32), ti.cast(rays[ray, 1], ti.i32)
                T = vec3(1.0, 1.0, 1.0)
                for i in range(first, first + count):
                    delta = ti.cast(0.0, real)
                    if ti.static(density):
                        delta = deltas[i]
                    o = opacities(dynamic[i], static[i], delta, blend[i], density)
                    kept = seen(T, o, stop, least)
                    v_blend[i] = ti.cast(ti.select(kept[0] > 0.0, T[0], _LEFT_OUT), real)
                    v_dynamic[i] = ti.cast(ti.select(kept[1] > 0.0, T[1], _LEFT_OUT), real)
                    v_static[i] = ti.cast(ti.select(kept[2] > 0.0, T[2], _LEFT_OUT), real)
                    T = behind_sample(T, o, kept)
                behind = vec3(0.0, 0.0, 0.0)
                for j in range(count):
                    i = first + count - 1 - j
                    delta = ti.cast(0.0, real)
                    if ti.static(density):
                        delta = deltas[i]
                    o = opacities(dynamic[i], static[i], delta, blend[i], density)
                    b, z = ti.cast(blend[i], ti.f64), ti.cast(depths[i], ti.f64)
                    T = vec3(v_blend[i], v_dynamic[i], v_static[i])
                    v_d, v_s, v_b, v_z = (ti.cast(0.0, ti.f64), ti.cast(0.0, ti.f64), ti.cast(0.0, ti.f64),
                                          ti.cast(0.0, ti.f64))  # fmt: skip
                    if T[0] < _LEFT_OUT:
                        v = v_sums[ray, 0] + v_sums[ray, 1] * z + v_sums[ray, 6] * b
                        v_wd, v_ws = v, v
                        if v_joint_dynamic.shape[0] > 0:
                            v_wd += v_joint_dynamic[i]
                        if v_joint_static.shape[0] > 0:
                            v_ws += v_joint_static[i]
                        v_p = T[0] * (v_wd - (1.0 - o[3]) * behind[0])
                        v_q = T[0] * (v_ws - (1.0 - o[2]) * behind[0])
                        weight = T[0] * (o[2] + o[3])
                        v_d, v_s = v_p * b, v_q * (1.0 - b)
                        v_b = v_p * o[0] - v_q * o[1] + v_sums[ray, 6] * weight
                        v_z = v_sums[ray, 1] * weight
                        behind[0] = v_wd * o[2] + v_ws * o[3] + (1.0 - o[2]) * (1.0 - o[3]) * behind[0]
                    if T[1] < _LEFT_OUT:
                        v = v_sums[ray, 2] + v_sums[ray, 3] * z
                        if v_alone_dynamic.shape[0] > 0:
                            v += v_alone_dynamic[i]
                        v_d += T[1] * (v - behind[1])
                        v_z += v_sums[ray, 3] * T[1] * o[0]
                        behind[1] = (1.0 - o[0]) * behind[1] + v * o[0]
                    if T[2] < _LEFT_OUT:
                        v = v_sums[ray, 4] + v_sums[ray, 5] * z
                        if v_alone_static.shape[0] > 0:
                            v += v_alone_static[i]
                        v_s += T[2] * (v - behind[2])
                        v_z += v_sums[ray, 5] * T[2] * o[1]
                        behind[2] = (1.0 - o[1]) * behind[2] + v * o[1]
                    if ti.static(density):
                        v_d *= decay(dynamic[i] * delta, o[0])  # dL/d(density delta)
                        v_s *= decay(static[i] * delta, o[1])
                        if v_deltas.shape[0] > 0:
                            v_deltas[i] = ti.cast(v_d * dynamic[i] + v_s * static[i], real)
                        v_d *= delta
                        v_s *= delta
                    v_dynamic[i], v_static[i] = ti.cast(v_d, real), ti.cast(v_s, real)
                    v_blend[i] = ti.cast(v_b, real)
                    if v_depths.shape[0] > 0:
                        v_depths[i] = ti.cast(v_z, real)

    return composite, adjoint


def blend_cuda(rays: Rays, samples, values, limits) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """Weights, sums and layers.

    Args:
        samples: dynamic, static, blend, depths, deltas [N]; with deltas None the first two are opacities.
        values: [N, D] of the dynamic and the static field, for each name in turn.
        limits: ``(stop, least)``.

    Returns:
        Weights [N] of the dynamic and the static field in the joint rendering, and of each alone; sums [R, 7]; and for
        each name what the joint rendering and each field alone show, [R, D].
    """
    like = samples[0]
    weights = [rays.per_sample(like) for _ in range(4)]
    sums = like.new_empty(rays.count, COLUMNS)
    _launch(0, rays, samples, [*weights, sums], limits)
    layers = []
    for k in range(0, len(values), 2):
        joint_dynamic, dynamic = accumulate_cuda(rays, values[k], weights[::2])
        joint_static, static = accumulate_cuda(rays, values[k + 1], weights[1::2])
        layers += [joint_dynamic + joint_static, dynamic, static]
    return weights, sums, layers


def blend_cuda_adjoint(rays: Rays, samples, values, weights, limits, v_weights, v_sums, v_layers, want):
    """Gradients of the samples and of the values.

    Args:
        weights: those that :func:`blend_cuda` gave.
        v_weights, v_sums, v_layers: gradients of what it gave; None for weights that have none.
        want: for each of the samples, then of the values, whether its gradient is needed.
    """
    like = samples[0]
    v_weights, v_values = list(v_weights), []
    for k, shown in enumerate(values):
        joint, *alone = v_layers[k // 2 * 3 : k // 2 * 3 + 3]
        v_x, by_sums = accumulate_cuda_adjoint(
            rays, shown, weights[k % 2 :: 2], [joint, alone[k % 2]], (want[5 + k], True)
        )
        v_values.append(v_x)
        for m, v in zip((k % 2, 2 + k % 2), by_sums, strict=True):
            v_weights[m] = v if v_weights[m] is None else v_weights[m] + v
    v_samples = [rays.per_sample(like) if k < 3 or want[k] else None for k in range(5)]
    _launch(1, rays, samples, [*v_weights, v_sums, *v_samples], limits)
    return v_samples, v_values


def _launch(which: int, rays: Rays, samples, others, limits: tuple[float, float]) -> None:
    like = samples[0]
    arguments = [or_nothing(like, x, ndim=2 if x is not None and x.ndim == 2 else 1)[0] for x in (*samples, *others)]
    kernel = _kernels(taichi_real(like))[which]
    bridge.call(kernel, rays.packed, spread(rays.count, like), *arguments, *limits, samples[4] is not None)
