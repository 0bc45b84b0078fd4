"""The joint rendering of a dynamic and a static field."""

from typing import NamedTuple

from torch import Tensor

from .functions import Blend
from .inputs import alike, flat, per_channel, working_type
from .rays import Rays

_NEVER = -1e300  # a threshold that nothing is below


class Layer(NamedTuple):
    """What one rendering of the rays shows."""

    values: dict[str, Tensor]  # [..., D] by name
    opacities: Tensor  # [..., 1] sum of weights
    depths: Tensor  # [..., 1] sum of weights times depths; divide by the opacities for a mean


class BlendedWeights(NamedTuple):
    """Weights of the samples, shaped like these."""

    joint_dynamic: Tensor  # in the joint rendering
    joint_static: Tensor
    dynamic: Tensor  # in the rendering of the dynamic field alone
    static: Tensor


class StaticDynamic(NamedTuple):
    """The joint rendering and those of either field alone."""

    full: Layer
    dynamic: Layer
    static: Layer
    dynamicness: Tensor  # [..., 1] sum of the joint rendering's weights times blend
    weights: BlendedWeights


def composite_static_dynamic(
    dynamic: Tensor,
    static: Tensor,
    blend: Tensor,
    values_dynamic: dict[str, Tensor],
    values_static: dict[str, Tensor],
    depths: Tensor,
    deltas: Tensor | None = None,
    packed_info: Tensor | None = None,
    ray_indices: Tensor | None = None,
    n_rays: int | None = None,
    early_stop_eps: float = 0.0,
    alpha_thre: float = 0.0,
) -> StaticDynamic:
    """Composite a dynamic and a static field that are known at the same samples of rays.

    With opacities a and blend b of a sample, front to back: ``full = sum T (a_d b c_d + a_s (1 - b) c_s)`` with
    ``T = prod (1 - a_d b)(1 - a_s (1 - b))`` over the samples in front; a field alone is ``sum T a c`` with
    ``T = prod (1 - a)`` (Gao et al. 2021, "Dynamic View Synthesis from Dynamic Monocular Video"; Tian et al. 2024,
    "Semantic Flow"). Differentiable once in all tensors.

    Args:
        dynamic, static: opacities in 0..1 at the samples, [..., n_samples] or packed [N]; where ``deltas`` is given,
            densities, of which come opacities ``1 - exp(-density delta)``.
        blend: share of the dynamic field at the samples, in 0..1.
        values_dynamic, values_static: what each field shows at the samples (colours, class logits, features),
            [..., n_samples, D] or [N, D] by name, the same names and D in both. Any D.
        depths: depth of the samples, in the unit that the result shall have.
        deltas: lengths of the samples, in the unit of the densities; the last one may be 1e10.
        packed_info, ray_indices, n_rays: how packed samples are grouped, as in :func:`render_weight_from_alpha`.
        early_stop_eps: a sample with less transmittance than this in front is left out, as if it were empty.
        alpha_thre: so is one that is less opaque than this; in the joint rendering, than the fields together.

    Returns:
        Three layers, dynamicness and weights; [...] leads per ray, or [n_rays]. Rays without samples are 0.

    Raises:
        ValueError: shapes, devices or names do not agree, or ray indices are not in ascending order.
    """
    alike(dynamic=dynamic, static=static, blend=blend, depths=depths, deltas=deltas)
    if values_dynamic.keys() != values_static.keys():
        raise ValueError(f"values_static: expected names {list(values_dynamic)}, got {list(values_static)}")
    rays = Rays.of(blend, packed_info, ray_indices, n_rays)
    dtype = working_type(dynamic, static, blend, depths, deltas, *values_dynamic.values(), *values_static.values())
    values = []
    for name in values_dynamic:
        shown = [
            per_channel(f"{of}[{name!r}]", field[name], blend, dtype)
            for of, field in (("values_dynamic", values_dynamic), ("values_static", values_static))
        ]
        channels = [x.shape[1] for x in shown]
        if channels[0] != channels[1]:
            raise ValueError(f"values_static[{name!r}]: expected {channels[0]} channels, got {channels[1]}")
        values += shown
    samples = [None if x is None else flat(x, dtype) for x in (dynamic, static, blend, depths, deltas)]
    limits = tuple(x if x > 0 else _NEVER for x in (early_stop_eps, alpha_thre))
    found = Blend.apply(rays, limits, *samples, *values)
    weights, sums, layers = found[:4], found[4], [x.view(*rays.shape, x.shape[1]) for x in found[5:]]
    scalars = [x.view(*rays.shape, 1) for x in sums.unbind(1)]
    shown = [dict(zip(values_dynamic, layers[i::3], strict=True)) for i in range(3)]
    layers = [Layer(shown[i], *scalars[2 * i : 2 * i + 2]) for i in range(3)]
    return StaticDynamic(*layers, scalars[6], BlendedWeights(*(w.view(blend.shape) for w in weights)))
