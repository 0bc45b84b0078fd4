"""Features of places on planes through pairs of axes, for any number of levels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..arguments import expect
from .functions import SamplePlanes


def sample_planes(places: Tensor, space: Sequence[Tensor], time: Sequence[Tensor] = ()) -> Tensor:
    """The product, over all pairs of axes, of what the pair's plane holds at a place, at several resolutions.

    K-planes (Fridovich-Keil et al. 2023, eq. 2): each plane is read bilinearly where the place projects along the other
    axes. Cells of a plane share the range from -1 to 1 evenly, their value lies in the middle; beyond the outermost middles
    values go on unchanged, also outside of that range (``grid_sample`` with ``align_corners=False,
    padding_mode="border"``). Differentiable in places and planes; on the CPU the same bits every time, whatever the number
    of threads.

    Args:
        places: [P, D], D = 3 or 4, the last axis of 4 is time; float64 ones are sampled in float64, others in float32.
        space: of each level [3, n, n, C], any sizes: the planes of axes (0, 1), (0, 2) and (1, 2), whose columns lie along
            the first axis of the pair and whose rows along the second.
        time: of each level [3, m, n, C] with n and C those of its space: the planes of axes (0, 3), (1, 3) and (2, 3);
            empty for D = 3.

    Returns:
        Features [P, C summed over levels], the channels of all levels one after another; 0, without gradient, where a
        coordinate is NaN.

    Raises:
        ValueError: a shape or device does not fit; the line names the argument.
    """
    expect("places", places, (None, 3), (None, 4))
    levels = len(space)
    if not levels:
        raise ValueError("space: expected at least one level, got none")
    wanted = levels if places.shape[1] == 4 else 0
    if len(time) != wanted:
        raise ValueError(f"time: expected {wanted} levels for places {list(places.shape)}, got {len(time)}")
    for i, level in enumerate(space):
        expect(f"space[{i}]", level, (3, None, None, None))
        if level.shape[1] != level.shape[2] or level.numel() == 0:
            raise ValueError(f"space[{i}]: expected [3, n, n, C] with n and C positive, got {list(level.shape)}")
    for i, level in enumerate(time):
        expect(f"time[{i}]", level, (3, None, *space[i].shape[2:]))
        if level.numel() == 0:
            raise ValueError(f"time[{i}]: expected at least one row, got {list(level.shape)}")
    for name, stack in (("space", space), ("time", time)):
        for i, level in enumerate(stack):
            if level.device != places.device:
                raise ValueError(f"{name}[{i}]: expected on {places.device}, where the places are, got {level.device}")

    dtype = torch.float64 if places.dtype == torch.float64 else torch.float32
    planes = [level.to(dtype).contiguous() for level in (*space, *time)]
    return SamplePlanes.apply(places.to(dtype).contiguous(), levels, *planes)
