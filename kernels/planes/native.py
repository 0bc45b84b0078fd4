"""What the kernels' C++ snippets share: a level of planes, cells around coordinates, and how channels are gone through.

The same source is compiled for CPUs (by clang) and for CUDA devices (by NVRTC). On the CPU channels go a vector at a time,
and one by one where they fill none; on a CUDA device the threads of a group share them out.
"""

import warp as wp

from ..cells import PAIR
from ..native import kernel

FIELDS = 8  # of a level in the table of :mod:`.functions`

_PLANES = r"""
constexpr int PLANES = DIMS == 4 ? 6 : 3;
// Axes of plane k: 01, 02, 12, 03, 13, 23. Its columns lie along the first, its rows along the second.
struct Axis {
    static constexpr int first(int k) { return k == 2 || k == 4 ? 1 : k == 5 ? 2 : 0; }
    static constexpr int second(int k) { return k == 0 ? 1 : k < 3 ? 2 : 3; }
};
struct Level {
    int channels, to;  // the first of them in the features
    int n, m;          // cells along an axis of space, along time
    R *planes[PLANES], *gradients[PLANES];  // gradients are null where they are not wanted
    inline Level(const int64_t* t) : channels((int)t[0]), to((int)t[1]), n((int)t[2]), m((int)t[3]) {
        for (int k = 0; k < PLANES; k++) {
            R *const all = (R*)t[4 + k / 3], *const v_all = (R*)t[6 + k / 3];
            const long long first = (long long)(k % 3) * rows(k) * n * channels;
            planes[k] = all + first;
            gradients[k] = v_all ? v_all + first : nullptr;
        }
    }
    inline int rows(int k) const { return k < 3 ? n : m; }
};
// The cells around a coordinate from -1 to 1.
struct Cells : Pair {
    Cells() = default;
    inline Cells(R x, int count) : Pair(x + R(1), count, 2) {}
};
// One channel.
struct One {
    typedef R T;
    static inline R load(const R* p) { return *p; }
    static inline void store(R* p, R x) { *p = x; }
};
"""

# each_channel calls body(kind, c) for all channels: ``kind`` says how many from c on are loaded and stored at once. Sums
# adds them up, for each of four axes.
_CHANNELS_CPU = r"""
struct Many {
    typedef R T __attribute__((vector_size(32)));
    typedef R Any __attribute__((vector_size(32), aligned(sizeof(R))));
    enum { WIDTH = sizeof(T) / sizeof(R) };
    static inline T load(const R* p) { return *(const Any*)p; }
    static inline void store(R* p, T x) { *(Any*)p = x; }
};
auto each_channel = [](int channels, auto body) {
    int c = 0;
    for (; c + Many::WIDTH <= channels; c += Many::WIDTH) body(Many{}, c);
    for (; c < channels; c++) body(One{}, c);
};
struct Sums {
    Many::T many[4] = {};
    R one[4] = {};
    inline void add(int axis, Many::T x) { many[axis] += x; }
    inline void add(int axis, R x) { one[axis] += x; }
    inline R of(int axis) const {
        R parts[Many::WIDTH];
        Many::store(parts, many[axis]);
        for (int half = Many::WIDTH / 2; half > 0; half /= 2)
            for (int i = 0; i < half; i++) parts[i] += parts[i + half];
        return parts[0] + one[axis];
    }
};
"""

_CHANNELS_CUDA = r"""
auto each_channel = [&](int channels, auto body) {
    for (int c = lane; c < channels; c += STEP) body(One{}, c);
};
struct Sums {
    R one[4] = {};
    inline void add(int axis, R x) { one[axis] += x; }
    inline R of(int axis) const { return one[axis]; }
};
"""


def build(name: str, real, dims: int, cuda: bool, source: str, arguments: dict):
    """A kernel for :func:`bridge.launch` whose C++ source sees the index of its element as ``index``: for places of
    ``dims`` coordinates of scalar type ``real``, made for CUDA devices or for the CPU. @CHANNELS@ in the source stands for
    ``each_channel`` and ``Sums``, which on CUDA devices need GROUP before them.
    """
    scalar = "float" if real is wp.float32 else "double"
    types = f"typedef {scalar} R;\nconstexpr int DIMS = {dims}, FIELDS = {FIELDS};\n"
    pragma = "" if cuda else "#pragma clang fp contract(fast)\n"
    source = source.replace("@CHANNELS@", _CHANNELS_CUDA if cuda else _CHANNELS_CPU)
    module = f"semaflow_planes_{dims}_{real.__name__}{'_cuda' if cuda else ''}"
    arguments = {**arguments, "first_index": int}
    return kernel(name, module, pragma + types + PAIR + _PLANES + source, arguments, elements=True)
