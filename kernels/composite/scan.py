"""Running sums and products along rays, with the interface of nerfacc 0.5's ``scan``.

Inputs are [..., n] for batched rays; or [N] with ``packed_info`` [n_rays, 2], where samples of no ray become 0. Sums and
products are carried in float64. Differentiable; the gradient of a product is right where factors are 0, too.
"""

from torch import Tensor

from .functions import Product, Sum
from .inputs import flat, working_type
from .rays import Rays


def inclusive_sum(inputs: Tensor, packed_info: Tensor | None = None) -> Tensor:
    """``y_i = x_0 + ... + x_i`` along each ray."""
    return _scan(Sum, inputs, packed_info, exclusive=False)


def exclusive_sum(inputs: Tensor, packed_info: Tensor | None = None) -> Tensor:
    """``y_i = x_0 + ... + x_{i-1}`` along each ray, 0 for its first sample."""
    return _scan(Sum, inputs, packed_info, exclusive=True)


def inclusive_prod(inputs: Tensor, packed_info: Tensor | None = None) -> Tensor:
    """``y_i = x_0 ... x_i`` along each ray."""
    return _scan(Product, inputs, packed_info, exclusive=False)


def exclusive_prod(inputs: Tensor, packed_info: Tensor | None = None) -> Tensor:
    """``y_i = x_0 ... x_{i-1}`` along each ray, 1 for its first sample."""
    return _scan(Product, inputs, packed_info, exclusive=True)


def _scan(function, inputs: Tensor, packed_info: Tensor | None, exclusive: bool) -> Tensor:
    rays = Rays.of(inputs, packed_info, None, None)
    return function.apply(flat(inputs, working_type(inputs)), rays, exclusive).view(inputs.shape)
