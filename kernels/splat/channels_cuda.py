"""Compositing of many channels on CUDA devices, its adjoint, and the adjoint with respect to colours alone.

A thread still weighs Gaussians for one pixel. For the channels the warp turns round: its lanes stand for channels, so
that colours and gradients are read and written by neighbouring lanes from neighbouring memory, and the pixels that a
Gaussian reaches are taken one after another, their weights handed from lane to lane. Colours' gradients then need no
sum over lanes at all.
"""

import warp as wp

from ..native import kernel
from ..once import once
from .native_cuda import FOUND, GEOMETRY_ADJOINT, IMAGE, KNOWN, PIXELS, scene, snippet

GROUPS = 2  # of a warp's channels that a thread holds for each of the warp's pixels when compositing

_FORWARD = r"""
const int begin = index / (TILE * TILE * (starts.shape[0] - 1)) * GROUPS * LANES + lane;
R image[LANES][GROUPS] = {};
walk(char{}, [&](int k, int) {
    const Hit hit = meet(k);
    const unsigned reached = vote(hit.weight > R(0));
    if (!reached) return;
    R f[GROUPS];
    #pragma unroll
    for (int n = 0; n < GROUPS; n++) {
        const int c = begin + n * LANES;
        f[n] = c < channels ? colors.data[color[k] * channels + c] : R(0);
    }
    #pragma unroll
    for (int j = 0; j < LANES; j++)
        if (reached >> j & 1) {
            const R weight = from_lane(hit.weight, j);
            #pragma unroll
            for (int n = 0; n < GROUPS; n++) image[j][n] += weight * f[n];
        }
});
if (pixel >= 0 && begin == lane) {
    transmittance.data[pixel] = T;
    alphas.data[pixel] = R(1) - T;
}
#pragma unroll
for (int j = 0; j < LANES; j++) {
    const R behind = from_lane(T, j);
    if (!in_image(j)) continue;
    const long long at = corner + to_pixel(j);
    #pragma unroll
    for (int n = 0; n < GROUPS; n++) {
        const int c = begin + n * LANES;
        if (c >= channels) continue;
        out.data[at * channels + c] =
            image[j][n] + (backgrounds.shape[0] > 0 ? behind * backgrounds.data[camera * channels + c] : R(0));
    }
}
"""

# Several Gaussians at a time, since each channel of a pixel is fetched for all of them at once.
_BATCH = r"""
struct Step { char x[BATCH]; };
Hit hits[BATCH];
unsigned reached[BATCH], any;
auto meet_batch = [&](int k, int n) {
    any = 0;
    #pragma unroll
    for (int b = 0; b < BATCH; b++) {
        hits[b].weight = R(0);
        if (b < n) hits[b] = meet(k + b);
        reached[b] = vote(hits[b].weight > R(0));
        any |= reached[b];
    }
};
"""

_ADJOINT = r"""
R rest = R(0);
{
    R sums[LANES] = {};
    #pragma unroll
    for (int j = 0; j < LANES; j++) {
        const long long at = (corner + to_pixel(j)) * channels;
        if (in_image(j))
            for (int c = lane; c < channels; c += LANES) sums[j] += out.data[at + c] * v_out.data[at + c];
    }
    sum(sums, [&](int, R x) { rest = x; });  // the j-th ends in lane j
    if (pixel >= 0 && v_alphas.shape[0] > 0) rest -= transmittance.data[pixel] * v_alphas.data[pixel];
}
@GEOMETRY@
walk(Step{}, [&](int k, int n) {
    meet_batch(k, n);
    if (!any) return;
    R dots[BATCH][LANES] = {};
    for (int c = lane; c - lane < channels; c += LANES) {
        const bool inside = c < channels;
        const R* gradients = v_out.data + corner * channels + c;
        R f[BATCH] = {}, sums[BATCH] = {};
        #pragma unroll
        for (int b = 0; b < BATCH; b++)
            if (inside && reached[b]) f[b] = colors.data[color[k + b] * channels + c];
        #pragma unroll
        for (int j = 0; j < LANES; j++) {
            if (!(any >> j & 1)) continue;
            const R x = inside ? gradients[to_pixel(j) * channels] : R(0);
            #pragma unroll
            for (int b = 0; b < BATCH; b++)
                if (reached[b] >> j & 1) {
                    sums[b] += from_lane(hits[b].weight, j) * x;
                    dots[b][j] += f[b] * x;
                }
        }
        #pragma unroll
        for (int b = 0; b < BATCH; b++)
            if (inside && reached[b]) add(v_colors.data + color[k + b] * channels + c, sums[b]);
    }
    #pragma unroll
    for (int b = 0; b < BATCH; b++) {
        if (!reached[b]) continue;
        R seen = R(0);
        sum(dots[b], [&](int, R x) { seen = x; });
        geometry(k + b, hits[b], seen);
    }
});
"""

_LIFT = r"""
walk(Step{}, [&](int k, int n) {
    meet_batch(k, n);
    if (!any) return;
    for (int c = lane; c - lane < channels; c += LANES) {
        const bool inside = c < channels;
        const R* map = maps.data + corner * channels + c;
        R total[BATCH] = {};
        #pragma unroll
        for (int j = 0; j < LANES; j++) {
            if (!(any >> j & 1)) continue;
            const R x = inside ? map[to_pixel(j) * channels] : R(0);
            #pragma unroll
            for (int b = 0; b < BATCH; b++)
                if (reached[b] >> j & 1) total[b] += from_lane(hits[b].weight, j) * x;
        }
        #pragma unroll
        for (int b = 0; b < BATCH; b++)
            if (inside && reached[b]) add(sums.data + color[k + b] * channels + c, total[b]);
    }
    if (totals.shape[0] == 0) return;
    #pragma unroll
    for (int b = 0; b < BATCH; b++) {
        R weight[1] = {hits[b].weight};
        if (reached[b]) sum(weight, [&](int, R x) { add(totals.data + color[k + b], x); });
    }
});
"""


@once
def channel_kernels(real):
    """Kernels ``(composite, adjoint, lift)`` for any number of channels; composite takes GROUPS * 32 of them at a time,
    by a block of threads each."""
    module = f"semaflow_channels_cuda_{real.__name__}"
    adjoint = _ADJOINT.replace("@GEOMETRY@", GEOMETRY_ADJOINT)

    def made(name, source, arguments):
        arguments = scene(real) | dict.fromkeys(arguments, wp.array(dtype=real)) | {"first_index": int}
        # Two blocks share a multiprocessor's registers, so that one works while the other waits for memory.
        return kernel(name, module, source, arguments, elements=True, launch_bounds=(PIXELS, 2))

    return (
        made("composite", snippet(real, _FORWARD, GROUPS=GROUPS), IMAGE),
        made("adjoint", snippet(real, _BATCH + adjoint, BATCH=2), KNOWN + FOUND),
        made("lift", snippet(real, _BATCH + _LIFT, BATCH=4), ("maps", "sums", "totals")),
    )
