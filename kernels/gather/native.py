"""What the kernels' C++ snippets share: a point seen by a camera, and the cells of a map around a pixel.

The same source is compiled for CPUs (by clang) and for CUDA devices (by NVRTC). A group of ``lanes`` threads shares a
point in a view, each taking every ``lanes``-th channel; on the CPU a group is one thread, whose loops over channels
the compiler turns into vectors.
"""

import torch
import warp as wp

from ..cells import DEALT, GROUP, PAIR
from ..native import kernel

LARGEST = 1e15  # coordinates and pixels beyond this count as not finite: their gradients would overflow float32
STORED = {torch.float16: "H", torch.float32: "float", torch.float64: "double"}  # how maps lie in memory, by dtype

_PRAGMA = r"""
#if defined(__CUDA_ARCH__)
typedef wp::half H;
#else
#pragma clang fp contract(fast)
typedef _Float16 H;  // that of the processor: Warp's own is converted by a function call
#endif
"""

_PRELUDE = r"""
// A point in a camera (OpenCV); viewmat [4, 4] world to camera, K [3, 3] in pixels.
struct Seen {
    R x, y, z;   // in the camera
    R a, b;      // x / z, y / z
    R u, v;      // pixels
    bool finite; // all of these; nothing else may be used where it is not so
    bool front;  // beyond the near plane; where not, a, b, u and v are 0

    inline Seen(const R* p, const R* W, const R* K, R near) : a(0), b(0), u(0), v(0) {
        x = W[0] * p[0] + W[1] * p[1] + W[2] * p[2] + W[3];
        y = W[4] * p[0] + W[5] * p[1] + W[6] * p[2] + W[7];
        z = W[8] * p[0] + W[9] * p[1] + W[10] * p[2] + W[11];
        front = z >= near;
        if (front) {
            a = x / z, b = y / z;
            u = K[0] * a + K[1] * b + K[2];
            v = K[3] * a + K[4] * b + K[5];
        }
        const R all[5] = {x, y, z, u, v};
        finite = true;
        for (int i = 0; i < 5; i++) finite = finite && all[i] <= LARGEST && all[i] >= -LARGEST;
        front = front && finite;
    }
    inline bool inside(int width, int height) const {
        return front && u >= R(0) && u < R(width) && v >= R(0) && v < R(height);
    }
};
"""

# A pyramid level in the table of :mod:`.functions`, and the four cells of it around a pixel.
_LEVELS = r"""
struct Level {
    const M* map;  // [V, rows, columns, channels]
    int rows, columns, channels;
    int to;        // first of its channels in the features
    inline Level(const int64_t* t)
        : map((const M*)t[0]), rows((int)t[1]), columns((int)t[2]), channels((int)t[3]), to((int)t[4]) {}
};
struct Corners {
    const M *m00, *m01, *m10, *m11;
    inline Corners(const Level& level, int view, const Pair& row, const Pair& column) {
        const long long first = ((long long)view * level.rows + row.first) * level.columns;
        const long long second = ((long long)view * level.rows + row.second) * level.columns;
        m00 = level.map + (first + column.first) * level.channels;
        m01 = level.map + (first + column.second) * level.channels;
        m10 = level.map + (second + column.first) * level.channels;
        m11 = level.map + (second + column.second) * level.channels;
    }
};
"""


def build(name: str, module: str, real, stored: str | None, source: str, arguments: dict):
    """A kernel for :func:`bridge.launch` whose C++ source sees the index of its element as ``index``.

    ``R`` is the scalar type ``real``. With ``stored``, the C++ type ``M`` of maps, a thread is one of a group (``GROUP``).
    """
    scalar = "float" if real is wp.float32 else "double"
    types = f"\ntypedef {scalar} R;\nconstexpr R LARGEST = R({LARGEST});\n"
    arguments = {**arguments, "first_index": int}
    if stored:
        types += f"typedef {stored} M;\n"
        source = _LEVELS + GROUP + source
        arguments = DEALT | arguments
    return kernel(name, module, _PRAGMA + types + PAIR + _PRELUDE + source, arguments, elements=True)
