"""What the C++ snippets of the CUDA kernels share: a tile's threads, and how they go through its list together.

One block of 256 threads draws one tile, one thread one pixel; a warp has two rows of it. The Gaussians of the list are
fetched into shared memory by all threads, 256 at a time. Sums over the pixels of a warp are taken for several values
at once, each of which ends in another lane.

The snippets also compile for the CPU, where a block and a warp are one thread: what they compute can be checked there.
"""

import warp as wp
from torch import Tensor

from .constants import ALPHA_MAX, ALPHA_MIN, TILE, TRANSMITTANCE_MIN

PIXELS = TILE * TILE  # threads per block; also what bridge.launch gives a block

_THREADS = r"""
constexpr int TILE = @TILE@;
constexpr R ALPHA_MAX = R(@ALPHA_MAX@), ALPHA_MIN = R(@ALPHA_MIN@), T_MIN = R(@T_MIN@), LOG2E = R(1.4426950408889634);
const int place = index % (TILE * TILE);  // of the thread's pixel in its tile
#undef SPLAT_SHARED
#if defined(__CUDA_ARCH__)
#define SPLAT_SHARED __shared__
constexpr int TEAM = TILE * TILE, LANES = 32;
const int member = place, lane = place % LANES;
auto any_in_team = [](bool yes) { return __syncthreads_or(yes) != 0; };  // waits for all
auto wait_for_team = []() { __syncthreads(); };
auto vote = [](bool yes) -> unsigned { return __ballot_sync(0xffffffffu, yes); };
auto from_lane = [](R x, int j) -> R { return __shfl_sync(0xffffffffu, x, j); };
auto add = [](R* to, R x) { atomicAdd(to, x); };
auto power_of_2 = [](R x) -> R {
    if constexpr (sizeof(R) == 4) return exp2f(x);
    else return ::exp2(x);
};
#else
#define SPLAT_SHARED
constexpr int TEAM = 1, LANES = 1;
const int member = 0, lane = 0;
auto any_in_team = [](bool yes) { return yes; };
auto wait_for_team = []() {};
auto vote = [](bool yes) -> unsigned { return yes; };
auto from_lane = [](R x, int) -> R { return x; };
auto add = [](R* to, R x) { *to += x; };
auto power_of_2 = [](R x) -> R { return R(::exp(double(x) * 0.6931471805599453)); };
#endif

// Sums each of the values over the lanes of the warp; calls put(i, sum of the i-th) for each, in one lane. Half of the
// lanes go on with one half of the values, the others with the other: 31 exchanges for 32 values.
auto sum = [&](auto& values, auto put) {
    constexpr int COUNT = sizeof(values) / sizeof(R);  // a power of two, at most LANES but on the CPU
#if defined(__CUDA_ARCH__)
    #pragma unroll
    for (int level = 0; level < 5; level++) {
        const int half = COUNT >> (level + 1), offset = LANES >> (level + 1);
        const bool upper = (lane & offset) != 0;
        #pragma unroll
        for (int i = 0; i < COUNT / 2; i++) {
            if (i >= half) continue;
            const R kept = upper ? values[i + half] : values[i], given = upper ? values[i] : values[i + half];
            values[i] = kept + __shfl_xor_sync(0xffffffffu, given, offset);
        }
    }
    constexpr int OWNERS = LANES / COUNT;
    #pragma unroll
    for (int offset = OWNERS / 2; offset > 0; offset /= 2)
        values[0] += __shfl_xor_sync(0xffffffffu, values[0], offset);
    if (lane % OWNERS == 0) put(lane / OWNERS, values[0]);
#else
    for (int i = 0; i < COUNT; i++) put(i, values[i]);
#endif
};

const int tiles_x = (width + TILE - 1) / TILE, tiles_y = (height + TILE - 1) / TILE;
const int tile = index / (TILE * TILE) % (starts.shape[0] - 1), camera = tile / (tiles_x * tiles_y);
const int left = tile % tiles_x * TILE, top = tile / tiles_x % tiles_y * TILE;
const int column = left + place % TILE, row = top + place / TILE;
// The warp's first pixel, and from there to the pixel of lane j; indices in [C, H, W].
const int corner_x = left + (place - lane) % TILE, corner_y = top + (place - lane) / TILE;
const long long corner = ((long long)camera * height + corner_y) * width + corner_x;
auto to_pixel = [&](int j) { return j / TILE * width + j % TILE; };
auto in_image = [&](int j) { return corner_x + j % TILE < width && corner_y + j / TILE < height; };
const long long pixel = in_image(lane) ? corner + to_pixel(lane) : -1;
bool alive = pixel >= 0;
R T = alive ? R(1) : R(0);

SPLAT_SHARED R xs[TEAM], ys[TEAM], As[TEAM], Bs[TEAM], Cs[TEAM], opacity[TEAM], log_opacity[TEAM];
SPLAT_SHARED int splat[TEAM];
SPLAT_SHARED long long color[TEAM];
// Calls visit(k, n) for the places of n splats in shared memory, STEP at a time, until the warp's pixels are done.
auto walk = [&](auto step, auto visit) {
    constexpr int STEP = sizeof(step);
    const int end = starts.data[tile + 1];
    for (int begin = starts.data[tile]; begin < end; begin += TEAM) {
        if (!any_in_team(alive)) return;
        if (begin + member < end) {
            const int s = entries.data[begin + member];
            const R o = opacities.data[s];
            xs[member] = means2d.data[2LL * s];
            ys[member] = means2d.data[2LL * s + 1];
            As[member] = conics.data[3LL * s];
            Bs[member] = conics.data[3LL * s + 1];
            Cs[member] = conics.data[3LL * s + 2];
            opacity[member] = o;
            log_opacity[member] = LOG2E * R(::log(o));
            splat[member] = s;
            color[member] = rows.shape[0] > 0 ? rows.data[s] : s;
        }
        wait_for_team();
        const int size = end - begin < TEAM ? end - begin : TEAM;
        for (int k = 0; k < size && vote(alive); k += STEP) visit(k, size - k < STEP ? size - k : STEP);
    }
};
struct Hit { R dx, dy, raw, before, weight; };  // raw: opacity before it is clamped; before: transmittance
// What the k-th splat does to the thread's pixel; weight 0 where it does not reach it.
auto meet = [&](int k) -> Hit {
    Hit hit;
    hit.dx = R(column) + R(0.5) - xs[k];
    hit.dy = R(row) + R(0.5) - ys[k];
    hit.raw = power_of_2(log_opacity[k] - LOG2E * (R(0.5) * (As[k] * hit.dx * hit.dx + Cs[k] * hit.dy * hit.dy)
                                                   + Bs[k] * hit.dx * hit.dy));
    hit.before = T;
    hit.weight = R(0);
    const R alpha = hit.raw < ALPHA_MAX ? hit.raw : ALPHA_MAX;
    if (alive && alpha >= ALPHA_MIN) {
        const R weight = T * alpha, after = T - weight;
        if (after <= T_MIN) alive = false;
        else hit.weight = weight, T = after;
    }
    return hit;
};
"""

# What is left behind the pixel's Gaussians, as in tiles_cpu; `seen` is colour times gradient. Needs `rest` of the pixel.
GEOMETRY_ADJOINT = r"""
auto geometry = [&](int k, const Hit& hit, R seen) {
    R q = R(0);
    if (hit.weight > R(0)) {
        rest -= hit.weight * seen;
        if (hit.raw <= ALPHA_MAX) q = hit.raw * (hit.before * seen - rest / (R(1) - hit.raw));
    }
    const R gx = q * (As[k] * hit.dx + Bs[k] * hit.dy), gy = q * (Bs[k] * hit.dx + Cs[k] * hit.dy);
    R values[8] = {
        gx, gy, R(-0.5) * q * hit.dx * hit.dx, -q * hit.dx * hit.dy, R(-0.5) * q * hit.dy * hit.dy, q / opacity[k],
        gx < R(0) ? -gx : gx, gy < R(0) ? -gy : gy};
    const long long s = splat[k];
    sum(values, [&](int i, R x) {
        if (i < 2) add(v_means2d.data + 2 * s + i, x);
        else if (i < 5) add(v_conics.data + 3 * s + i - 2, x);
        else if (i == 5) add(v_opacities.data + s, x);
        else if (v_absolute.shape[0] > 0) add(v_absolute.data + 2 * s + i - 6, x);
    });
};
"""


# Further arguments of compositing, and what its adjoint is given and finds.
IMAGE = ("colors", "backgrounds", "out", "alphas", "transmittance")
KNOWN = ("colors", "out", "transmittance", "v_out", "v_alphas")
FOUND = ("v_means2d", "v_absolute", "v_conics", "v_opacities", "v_colors")


def lanes(like: Tensor) -> int:
    """Threads of a warp on the device of ``like``."""
    return 32 if like.is_cuda else 1


def scene(real) -> dict:
    """The leading arguments of every kernel: the image's size, a tile's list, and splats with their rows of colours."""
    reals, ints = wp.array(dtype=real), wp.array(dtype=wp.int32)
    return {
        "width": int, "height": int, "channels": int, "starts": ints, "entries": ints, "means2d": reals,
        "conics": reals, "opacities": reals, "rows": wp.array(dtype=wp.int64),
    }  # fmt: skip


def snippet(real, body: str, **constants: int) -> str:
    """C++ source of a native function for scalar type ``real``: types, constants, the shared part and ``body``."""
    lines = ["typedef float R;" if real is wp.float32 else "typedef double R;"]
    lines += [f"constexpr int {name} = {value};" for name, value in constants.items()]
    threads = _THREADS
    for name, value in {
        "@TILE@": TILE,
        "@ALPHA_MAX@": ALPHA_MAX,
        "@ALPHA_MIN@": ALPHA_MIN,
        "@T_MIN@": TRANSMITTANCE_MIN,
    }.items():
        threads = threads.replace(name, repr(value))
    return "\n".join(lines) + threads + body
