"""Volume rendering along rays: weights from density or opacity, sums of any number of channels, and the joint rendering
of a dynamic and a static field.

The functions of nerfacc 0.5's ``volrend``, ``scan`` and ``pack`` have its signatures, and run on the CPU and on CUDA
devices. Samples come batched, [..., n_samples], or packed: all rays' samples on end, ray after ray, with
``ray_indices`` [N] in ascending order and ``n_rays``, or with ``packed_info`` [n_rays, 2], first sample and number of
samples of each ray.
"""

from ..garbage import put_off

with put_off():
    from .rays import pack_info
    from .scan import exclusive_prod, exclusive_sum, inclusive_prod, inclusive_sum
    from .static_dynamic import composite_static_dynamic
    from .volrend import (
        accumulate_along_rays,
        accumulate_along_rays_,
        render_transmittance_from_alpha,
        render_transmittance_from_density,
        render_visibility_from_alpha,
        render_visibility_from_density,
        render_weight_from_alpha,
        render_weight_from_density,
        rendering,
    )

__all__ = [
    "accumulate_along_rays",
    "accumulate_along_rays_",
    "composite_static_dynamic",
    "exclusive_prod",
    "exclusive_sum",
    "inclusive_prod",
    "inclusive_sum",
    "pack_info",
    "render_transmittance_from_alpha",
    "render_transmittance_from_density",
    "render_visibility_from_alpha",
    "render_visibility_from_density",
    "render_weight_from_alpha",
    "render_weight_from_density",
    "rendering",
]
