"""Which samples belong to which ray."""

import math
from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

from .. import bridge
from ..native import kernel
from ..once import once

SAMPLES_MAX = 2**31 - 2**16  # kernels count samples in int32
_RUN = 256  # shorter loops cost more than what is in them


# An element is a run of samples. Most lie in the ray of the one before, and are passed over eight at a time.
_FIND_RAYS = r"""
const long long n = ray_indices.shape[0], rays = starts.shape[0] - 1;
const long long begin = (long long)index * run, end = begin + run < n + 1 ? begin + run : n + 1;
const int64_t* at = ray_indices.data;
for (long long i = begin; i < end; i++) {
    while (i > 0 && i + 8 <= n && i + 8 <= end) {
        int64_t change = 0;
        for (int k = 0; k < 8; k++) change |= at[i + k] ^ at[i + k - 1];
        if (change) break;
        i += 8;
    }
    if (i == end) break;
    const long long before = i > 0 ? at[i - 1] : -1, here = i < n ? at[i] : rays;
    if (before == here && here >= 0) continue;
    if (here < 0 || before < -1 || before > here || here > rays || (here == rays && i < n))
        wrong.data[0] = 1;
    else
        for (long long ray = before + 1; ray <= here; ray++) starts.data[ray] = i;
}
"""


@once
def find_rays():
    """Kernel that writes ``starts`` [R + 1], the first sample of each ray and the number of samples, and 1 to ``wrong``
    [1] if the indices descend, or do not lie in 0..R-1."""
    longs = wp.array(dtype=wp.int64)
    arguments = {"ray_indices": longs, "run": int, "starts": longs, "wrong": wp.array(dtype=wp.int32), "first": int}
    return kernel("find_rays", "semaflow_find_rays", _FIND_RAYS, arguments, elements=True)


def _ascending(ray_indices: Tensor, n_rays: int) -> Tensor | None:
    """``packed_info`` [n_rays, 2] of ascending indices; None if they are not."""
    starts = ray_indices.new_empty(n_rays + 1)
    wrong = torch.zeros(1, dtype=torch.int32, device=ray_indices.device)
    run = 1 if ray_indices.is_cuda else _RUN
    arguments = [bridge.flat(ray_indices), run, bridge.flat(starts), bridge.flat(wrong)]
    bridge.launch(find_rays(), len(ray_indices) // run + 1, arguments, ray_indices, grain=64)
    return None if wrong.item() else torch.stack([starts[:-1], starts.diff()], 1)


def _indices(ray_indices: Tensor) -> Tensor:
    if ray_indices.ndim != 1 or ray_indices.is_floating_point():
        raise ValueError(
            f"ray_indices: expected integers of shape [any], got {list(ray_indices.shape)} {ray_indices.dtype}"
        )
    if len(ray_indices) > SAMPLES_MAX:
        raise ValueError(f"ray_indices: expected at most {SAMPLES_MAX} samples, got {len(ray_indices)}")
    return ray_indices.detach().long().contiguous()


def _ray_count(n_rays: int) -> int:
    if int(n_rays) < 0:
        raise ValueError(f"n_rays: must not be negative, got {n_rays}")
    return int(n_rays)


@torch.no_grad()
def pack_info(ray_indices: Tensor, n_rays: int | None = None) -> Tensor:
    """First sample and number of samples of each ray.

    Args:
        ray_indices: [N] integers, the ray of each sample, in ascending order.
        n_rays: number of rays; by default those up to the last sample's.

    Returns:
        [n_rays, 2], int64. A ray without samples has count 0.

    Raises:
        ValueError: the indices are not in ascending order, or not in 0..n_rays-1.
    """
    ray_indices = _indices(ray_indices)
    if n_rays is None:
        n_rays = max(int(ray_indices[-1]) + 1, 0) if len(ray_indices) else 0
    packed = _ascending(ray_indices, _ray_count(n_rays))
    if packed is None:
        raise ValueError(f"ray_indices: expected ascending integers in 0..{int(n_rays) - 1}, got others")
    return packed


@dataclass(frozen=True)
class Rays:
    """The grouping of samples, as kernels take it."""

    packed: Tensor  # [R, 2] int64: first sample, number of samples
    shape: tuple[int, ...]  # of what has one entry per ray: (R,), or the batch of batched samples
    complete: bool  # every sample belongs to a ray

    @property
    def count(self) -> int:
        return len(self.packed)

    def per_sample(self, like: Tensor, *channels: int) -> Tensor:
        """Memory for a kernel's results per sample; zero for samples of no ray."""
        shape = (like.shape[0], *channels)
        if not self.complete:
            return like.new_zeros(shape)
        return bridge.empty(like, *shape)

    @staticmethod
    def batched(shape: tuple[int, ...], device: torch.device) -> "Rays":
        """Of samples [..., n_samples]."""
        count, samples = math.prod(shape[:-1]), shape[-1]
        if count * samples > SAMPLES_MAX:
            raise ValueError(f"samples: expected at most {SAMPLES_MAX}, got {count * samples}")
        packed = torch.empty(count, 2, dtype=torch.int64, device=device)
        packed[:, 0] = torch.arange(count, device=device) * samples
        packed[:, 1] = samples
        return Rays(packed, tuple(shape[:-1]), True)

    @staticmethod
    def given(packed_info: Tensor, samples: int) -> "Rays":
        """Of ``samples`` packed samples."""
        if packed_info.ndim != 2 or packed_info.shape[1] != 2 or packed_info.is_floating_point():
            raise ValueError(
                f"packed_info: expected integers of shape [any, 2], got {list(packed_info.shape)} {packed_info.dtype}"
            )
        if samples > SAMPLES_MAX:
            raise ValueError(f"samples: expected at most {SAMPLES_MAX}, got {samples}")
        packed = packed_info.detach().long().contiguous()
        starts, counts = packed.unbind(1)
        ends = starts + counts
        inside = (starts >= 0).all() & (counts >= 0).all() & (ends <= samples).all()
        on_end = (starts == counts.cumsum(0) - counts).all() & (counts.sum() == samples)
        inside, on_end = torch.stack([inside, on_end]).tolist()
        if not inside:
            raise ValueError(f"packed_info: expected ranges within 0..{samples}, got others")
        return Rays(packed, (len(packed),), on_end)

    @staticmethod
    def of(samples: Tensor, packed_info: Tensor | None, ray_indices: Tensor | None, n_rays: int | None) -> "Rays":
        """As nerfacc's arguments tell: packed where ``packed_info`` or ``ray_indices`` is given, else batched."""
        if packed_info is None and ray_indices is None:
            if samples.ndim == 0:
                raise ValueError("samples: expected shape [..., n_samples], got []")
            return Rays.batched(samples.shape, samples.device)
        if samples.ndim != 1:
            raise ValueError(f"samples: expected shape [any] as they are packed, got {list(samples.shape)}")
        for name, value in (("packed_info", packed_info), ("ray_indices", ray_indices)):
            if value is not None and value.device != samples.device:
                raise ValueError(f"{name}: expected on {samples.device}, where the samples are, got {value.device}")
        if packed_info is not None:
            return Rays.given(packed_info, len(samples))
        if ray_indices.shape != samples.shape:
            raise ValueError(f"ray_indices: expected shape {list(samples.shape)}, got {list(ray_indices.shape)}")
        packed = pack_info(ray_indices, n_rays)
        return Rays(packed, (len(packed),), True)


def sorted_rays(ray_indices: Tensor, n_rays: int) -> tuple[Rays, Tensor | None]:
    """``(rays, order)`` of samples in any order: ``order`` [N] brings them into that of the rays, None if it is that.

    Raises:
        ValueError: indices not in 0..n_rays-1.
    """
    ray_indices, n_rays = _indices(ray_indices), _ray_count(n_rays)
    packed, order = _ascending(ray_indices, n_rays), None
    if packed is None:
        ray_indices, order = ray_indices.sort(stable=True)
        packed = pack_info(ray_indices, n_rays)
    return Rays(packed, (n_rays,), True), order
