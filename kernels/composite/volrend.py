"""Volume rendering with the interface of nerfacc 0.5's ``volrend``.

Samples are batched, [..., n_samples]; or packed, [N], with ``packed_info`` [n_rays, 2] or ``ray_indices`` [N] in ascending
order and ``n_rays``. Everything is differentiable once, except what says otherwise. ValueError where shapes, devices or
ray indices are not as described.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .functions import Accumulate, Weights
from .inputs import alike, flat, per_channel, working_type
from .rays import Rays, sorted_rays


def render_weight_from_alpha(
    alphas: Tensor,
    packed_info: Tensor | None = None,
    ray_indices: Tensor | None = None,
    n_rays: int | None = None,
    prefix_trans: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Weights ``w_i = T_i alpha_i`` and transmittances ``T_i = prod_{j<i} (1 - alpha_j)`` of opacities (Max 1995).

    Args:
        alphas: opacities of the samples, in 0..1.
        prefix_trans: transmittance in front of what these samples describe, shaped like ``alphas``; multiplies ``T``.

    Returns:
        Weights and transmittances, shaped like ``alphas``.
    """
    alike(alphas=alphas, prefix_trans=prefix_trans)
    rays = Rays.of(alphas, packed_info, ray_indices, n_rays)
    weights, trans, _, _ = Weights.apply(flat(alphas, working_type(alphas)), None, None, None, rays, False)
    return _prefixed(alphas.shape, prefix_trans, weights, trans)


def render_weight_from_density(
    t_starts: Tensor,
    t_ends: Tensor,
    sigmas: Tensor,
    packed_info: Tensor | None = None,
    ray_indices: Tensor | None = None,
    n_rays: int | None = None,
    prefix_trans: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, transmittances and opacities ``alpha_i = 1 - exp(-sigma_i (t_end_i - t_start_i))`` of densities.

    Args:
        t_starts, t_ends: where a sample begins and ends on its ray, in scene units.
        sigmas: densities, per scene unit.
        Others as in :func:`render_weight_from_alpha`.

    Returns:
        Weights, transmittances and opacities, shaped like ``sigmas``.
    """
    alike(sigmas=sigmas, t_starts=t_starts, t_ends=t_ends, prefix_trans=prefix_trans)
    rays = Rays.of(sigmas, packed_info, ray_indices, n_rays)
    weights, trans, alphas, _ = _from_density(t_starts, t_ends, sigmas, rays, False)
    return *_prefixed(sigmas.shape, prefix_trans, weights, trans), alphas.view(sigmas.shape)


def render_transmittance_from_alpha(
    alphas: Tensor,
    packed_info: Tensor | None = None,
    ray_indices: Tensor | None = None,
    n_rays: int | None = None,
    prefix_trans: Tensor | None = None,
) -> Tensor:
    """Transmittances of :func:`render_weight_from_alpha`, whose arguments it takes."""
    return render_weight_from_alpha(alphas, packed_info, ray_indices, n_rays, prefix_trans)[1]


def render_transmittance_from_density(
    t_starts: Tensor,
    t_ends: Tensor,
    sigmas: Tensor,
    packed_info: Tensor | None = None,
    ray_indices: Tensor | None = None,
    n_rays: int | None = None,
    prefix_trans: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Transmittances and opacities of :func:`render_weight_from_density`, whose arguments it takes."""
    return render_weight_from_density(t_starts, t_ends, sigmas, packed_info, ray_indices, n_rays, prefix_trans)[1:]


@torch.no_grad()
def render_visibility_from_alpha(
    alphas: Tensor,
    packed_info: Tensor | None = None,
    ray_indices: Tensor | None = None,
    n_rays: int | None = None,
    early_stop_eps: float = 1e-4,
    alpha_thre: float = 0.0,
    prefix_trans: Tensor | None = None,
) -> Tensor:
    """Which samples matter: bool, shaped like ``alphas``. No gradients.

    Args:
        early_stop_eps: transmittance in front of a sample from which on it is visible.
        alpha_thre: opacity from which on it is visible; of no effect unless positive.
        Others as in :func:`render_weight_from_alpha`.
    """
    trans = render_transmittance_from_alpha(alphas, packed_info, ray_indices, n_rays, prefix_trans)
    return _visible(trans, alphas, early_stop_eps, alpha_thre)


@torch.no_grad()
def render_visibility_from_density(
    t_starts: Tensor,
    t_ends: Tensor,
    sigmas: Tensor,
    packed_info: Tensor | None = None,
    ray_indices: Tensor | None = None,
    n_rays: int | None = None,
    early_stop_eps: float = 1e-4,
    alpha_thre: float = 0.0,
    prefix_trans: Tensor | None = None,
) -> Tensor:
    """:func:`render_visibility_from_alpha` for the arguments of :func:`render_weight_from_density`."""
    trans, alphas = render_transmittance_from_density(
        t_starts, t_ends, sigmas, packed_info, ray_indices, n_rays, prefix_trans
    )
    return _visible(trans, alphas, early_stop_eps, alpha_thre)


def accumulate_along_rays(
    weights: Tensor,
    values: Tensor | None = None,
    ray_indices: Tensor | None = None,
    n_rays: int | None = None,
) -> Tensor:
    """Sums of ``values`` along rays, weighted: ``sum_i w_i values_i``. Any number of channels.

    Samples in the order of their rays go straight to the kernel; packed samples in another order are sorted first.
    A sample of weight 0 adds nothing, whatever its value.

    Args:
        weights: [..., n_samples]; or [N] with ``ray_indices`` and ``n_rays``.
        values: [..., n_samples, D]; or [N, D]. By default the weights themselves are summed.

    Returns:
        [..., D]; or [n_rays, D], 0 for rays without samples. D is 1 without values.
    """
    dtype, order = working_type(weights, values), None
    if ray_indices is None:
        rays = Rays.of(weights, None, None, None)
    else:
        if n_rays is None:
            raise ValueError("n_rays: needed with ray_indices")
        if weights.shape != ray_indices.shape:
            raise ValueError(
                f"weights: expected shape {list(ray_indices.shape)} of ray_indices, got {list(weights.shape)}"
            )
        rays, order = sorted_rays(ray_indices, n_rays)
    if values is not None:
        values = per_channel("values", values, weights, dtype)
    weights = flat(weights, dtype)
    if order is not None:
        weights, values = weights[order], None if values is None else values[order]
    sums = Accumulate.apply(rays, values, weights)
    return sums.view(*rays.shape, sums.shape[-1])


def accumulate_along_rays_(
    weights: Tensor,
    values: Tensor | None = None,
    ray_indices: Tensor | None = None,
    outputs: Tensor | None = None,
) -> None:
    """Add what :func:`accumulate_along_rays` gives to ``outputs`` ([..., D] or [n_rays, D])."""
    n_rays = None if ray_indices is None else len(outputs)
    outputs.add_(accumulate_along_rays(weights, values, ray_indices, n_rays))


def rendering(
    t_starts: Tensor,
    t_ends: Tensor,
    ray_indices: Tensor | None = None,
    n_rays: int | None = None,
    rgb_sigma_fn: Callable | None = None,
    rgb_alpha_fn: Callable | None = None,
    render_bkgd: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Render a radiance field along rays.

    Args:
        t_starts, t_ends: where a sample begins and ends on its ray, in scene units.
        rgb_sigma_fn: ``(t_starts, t_ends, ray_indices) -> (values [..., D], densities [...])``. Any D.
        rgb_alpha_fn: the same with opacities; used where ``rgb_sigma_fn`` is not given. Not called without samples.
        render_bkgd: [D], what is behind everything.

    Returns:
        Values [..., D] or [n_rays, D]; opacities [..., 1]; depths [..., 1], the mean of the samples' middles by weight;
        and a dictionary of what was found on the way per sample: weights, trans, alphas, rgbs, and sigmas.
    """
    alike(t_starts=t_starts, t_ends=t_ends, ray_indices=ray_indices)
    field = rgb_sigma_fn or rgb_alpha_fn
    if field is None:
        raise ValueError("rgb_sigma_fn, rgb_alpha_fn: one of them is needed")
    if len(t_starts) > 0:
        rgbs, opaque = field(t_starts, t_ends, ray_indices)
    else:
        rgbs = t_starts.new_empty(*t_starts.shape, 3 if render_bkgd is None else render_bkgd.shape[-1])
        opaque = t_starts.new_empty(t_starts.shape)
    alike(t_starts=t_starts, **{"sigmas" if rgb_sigma_fn else "alphas": opaque})
    rays = Rays.of(opaque, None, ray_indices, n_rays)
    if rgb_sigma_fn:
        weights, trans, alphas, sums = _from_density(t_starts, t_ends, opaque, rays, True)
        extras = {"sigmas": opaque, "alphas": alphas.view(opaque.shape)}
    else:
        dtype = working_type(opaque)
        ends = [flat(t, dtype) for t in (t_starts, t_ends)]
        weights, trans, _, sums = Weights.apply(flat(opaque, dtype), None, *ends, rays, True)
        extras = {"alphas": opaque}
    extras |= {"weights": weights.view(opaque.shape), "trans": trans.view(opaque.shape), "rgbs": rgbs}
    dtype = working_type(weights, rgbs)
    values = per_channel("rgbs", rgbs, opaque, dtype)
    colors = Accumulate.apply(rays, values, weights.to(dtype))
    colors = colors.view(*rays.shape, values.shape[1])
    opacities, depths = (x.view(*rays.shape, 1) for x in sums.unbind(1))
    depths = depths / opacities.clamp_min(torch.finfo(opacities.dtype).eps)
    if render_bkgd is not None:
        colors = colors + render_bkgd * (1.0 - opacities)
    return colors, opacities, depths, extras


def _from_density(t_starts: Tensor, t_ends: Tensor, sigmas: Tensor, rays: Rays, summed: bool):
    dtype = working_type(sigmas, t_starts, t_ends)
    return Weights.apply(None, *(flat(x, dtype) for x in (sigmas, t_starts, t_ends)), rays, summed)


def _prefixed(shape: torch.Size, prefix: Tensor | None, weights: Tensor, trans: Tensor) -> tuple[Tensor, Tensor]:
    weights, trans = weights.view(shape), trans.view(shape)
    if prefix is not None:
        weights, trans = weights * prefix, trans * prefix
    return weights, trans


def _visible(trans: Tensor, alphas: Tensor, early_stop_eps: float, alpha_thre: float) -> Tensor:
    visible = trans >= early_stop_eps
    if alpha_thre > 0:
        visible &= alphas >= alpha_thre
    return visible
