"""What the Taichi kernels here share: their argument types, how rays spread over cores, and opacity from density.

Every kernel is one loop over rays, with the samples of a ray in order. State that is carried from sample to sample is
float64, so that long rays lose no digits.
"""

from torch import Tensor

from .. import bridge
from ..bridge import ti
from ..once import once

RAYS = ti.types.ndarray(dtype=ti.i64, ndim=2)  # [R, 2] first sample, number of samples

# Taichi gives a thread of the CPU no fewer iterations of a loop than this.
_CHUNK = 512
_CHUNKS_PER_THREAD = 4  # rays are of unequal length, so threads draw several times


def spread(rays: int, like: Tensor) -> int:
    """How many iterations a ray is worth, all but the first idle, for a loop over rays to use every core."""
    if like.is_cuda or bridge.threads() == 1 or rays == 0:
        return 1
    return max(1, _CHUNK * _CHUNKS_PER_THREAD * bridge.threads() // rays)


def taichi_real(like: Tensor):
    """Taichi's type for the numbers of a tensor."""
    return ti.f64 if like.element_size() == 8 else ti.f32


def or_nothing(like: Tensor, *values: Tensor | None, ndim: int = 1) -> list[Tensor]:
    """Values as a Taichi kernel takes them: contiguous, an array of length zero for None."""
    nothing = like.new_empty((0,) * ndim)
    return [nothing if value is None else value.detach().contiguous() for value in values]


@once
def opacity_functions(real):
    """Taichi functions ``opacity(s) = 1 - exp(-s)``, accurate for small ``s`` too, and ``decay(s, opacity(s)) = exp(-s)``.

    Both call for an exponential only where ``s`` is not small, which is what they spend their time on.
    """
    terms = 13 if real == ti.f64 else 7  # of the series, for |s| < 1/4, to rounding

    @ti.func
    def opacity(s):
        alpha = s
        if ti.abs(s) < 0.25:
            one = ti.cast(1.0, real)
            series = one
            for i in ti.static(range(terms - 1)):
                series = 1.0 - s * (one / (terms - i)) * series  # a bare 1.0 is a float32 to Taichi
            alpha = s * series
        else:
            alpha = 1.0 - ti.exp(-s)
        return alpha

    @ti.func
    def decay(s, alpha):
        e = 1.0 - alpha
        if alpha > 0.5:
            e = ti.cast(ti.exp(-s), ti.f64)
        return e

    return opacity, decay
