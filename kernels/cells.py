"""C++ that kernels with bilinear lookups share: the cells around a coordinate, and which points a thread goes through."""

from torch import Tensor

SHARE = 256  # points of a view that a CPU thread takes at a time
THREADS = 1 << 30  # on a CUDA device, at most; beyond that each takes several points

# After ``typedef ... R``, the scalar type.
PAIR = r"""
// The two cells along one axis of a map between whose centres a pixel coordinate lies. Cells share the image's length
// evenly; beyond the outermost centres their value goes on.
struct Pair {
    int first, second;
    R weight;  // of the second
    R slope;   // of that weight, per pixel
    Pair() = default;
    inline Pair(R pixel, int cells, int length) {
        const R scale = R(cells) / R(length), at = pixel * scale - R(0.5), last = R(cells - 1);
        slope = at > R(0) && at < last ? scale : R(0);
        const R held = at > R(0) ? (at < last ? at : last) : R(0);
        first = (int)held;
        weight = held - R(first);
        second = weight > R(0) ? first + 1 : first;  // a cell without weight is not looked at, whatever it holds
    }
};
"""

# The points of one view that a group of ``lanes`` threads goes through, each taking every ``lanes``-th channel, and which
# of the group this thread is; on the CPU a group is one thread. Groups go view by view, so that few maps at a time have
# to stay in the caches.
GROUP = r"""
#if defined(__CUDA_ARCH__)
const int STEP = lanes, lane = index % lanes;
#else
constexpr int STEP = 1, lane = 0;
#endif
const int shares = (count + share - 1) / share, view = index / lanes / shares;
const int begin = index / lanes % shares * share, end = begin + share < count ? begin + share : count;
"""
DEALT = {"count": int, "share": int, "lanes": int}  # arguments that GROUP reads

# Adds ``value`` up over the threads of a group, which lie side by side in one warp.
GROUP_SUM = r"""
auto sum_of_group = [&](R value) -> R {
#if defined(__CUDA_ARCH__)
    const unsigned group = (lanes == 32 ? 0xffffffffu : (1u << lanes) - 1u) << (index & 31 & ~(lanes - 1));
    for (int offset = lanes / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(group, value, offset);
#endif
    return value;
};
"""


def deal(like: Tensor, count: int, views: int, channels: int) -> tuple[int, list[int]]:
    """``(threads, [count, share, lanes])``: how the points in each view are dealt to groups of threads."""
    if not like.is_cuda:
        return views * -(-count // SHARE), [count, SHARE, 1]
    lanes = min(32, 1 << (channels - 1).bit_length())
    share = max(-(-count * views * lanes // THREADS), 1)
    return views * -(-count // share) * lanes, [count, share, lanes]
