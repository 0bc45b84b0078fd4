"""Compositing on CUDA devices: one thread per pixel, one block of threads per tile.

Plain Warp kernels with the arithmetic of :mod:`.tiles_cpu`; they also run on the CPU, slowly and on one thread. The
threads of a tile go through its list in step; gradients are summed over the 32 threads of a warp before one of them
adds the sum to memory.
"""

import warp as wp

from ..once import once
from .constants import ALPHA_MAX, ALPHA_MIN, CELL, TILE, TRANSMITTANCE_MIN

PIXELS = TILE * TILE  # threads per tile
REGISTERS = 32  # channels that a thread holds


# Over the threads of a CUDA warp; on the CPU each thread is a warp of its own.
_TOTAL = """
#if defined(__CUDA_ARCH__)
for (int offset = 16; offset > 0; offset >>= 1) x += __shfl_xor_sync(0xffffffffu, x, offset);
#endif
return x;
"""
_ANYBODY = """
#if defined(__CUDA_ARCH__)
return __any_sync(0xffffffffu, yes);
#else
return yes;
#endif
"""
_LEADS = """
#if defined(__CUDA_ARCH__)
return (threadIdx.x & 31) == 0;
#else
return 1;
#endif
"""


@once
def cooperation(real):
    """Functions for the threads of a CUDA warp: ``(total, anybody, leads)``."""

    @wp.func_native(_TOTAL)
    def total(x: real) -> real: ...

    @wp.func_native(_ANYBODY)
    def anybody(yes: int) -> int: ...

    @wp.func_native(_LEADS)
    def leads() -> int: ...

    return total, anybody, leads


@once
def emission(real):
    """Kernel that writes the tiles of each drawn Gaussian, in the order given."""

    @wp.kernel(module=f"semaflow_emission_{real.__name__}", enable_backward=False)
    def emit(
        order: wp.array(dtype=wp.int64),
        boxes: wp.array(dtype=wp.vec4i),
        slots: wp.array(dtype=wp.int32),
        firsts: wp.array(dtype=wp.int64),
        gaussians: int,
        tiles_x: int,
        tiles_y: int,
        tiles: wp.array(dtype=wp.int32),
        splats: wp.array(dtype=wp.int32),
        first: int,
    ):
        k = wp.tid() + first
        i = int(order[k])
        box = boxes[i]
        at = firsts[k]
        for y in range(box[1], box[3]):
            for x in range(box[0], box[2]):
                tiles[at] = ((i // gaussians) * tiles_y + y) * tiles_x + x
                splats[at] = slots[i]
                at += wp.int64(1)

    return emit


@once
def compositing(real, registers: int):
    """Kernels ``(composite, adjoint, lift, strongest, cells)`` whose threads hold ``registers`` channels."""
    vec2, vec3, pixel = wp.types.vector(2, real), wp.types.vector(3, real), wp.types.vector(registers, real)
    total, anybody, leads = cooperation(real)
    module = f"semaflow_pixels_{real.__name__}_{registers}"
    zero, one = real(0.0), real(1.0)

    @wp.func
    def place(thread: int, width: int, height: int):
        """Tile, column, row and camera of a thread."""
        tiles_x = (width + TILE - 1) // TILE
        tiles_y = (height + TILE - 1) // TILE
        tile = thread // PIXELS
        x = tile % tiles_x * TILE + thread % TILE
        y = tile // tiles_x % tiles_y * TILE + thread % PIXELS // TILE
        return wp.vec4i(tile, x, y, tile // (tiles_x * tiles_y))

    @wp.func
    def offset(means2d: wp.array(dtype=vec2), s: int, x: int, y: int):
        """From a splat's centre to a pixel's."""
        return vec2(real(x) + real(0.5), real(y) + real(0.5)) - means2d[s]

    @wp.func
    def opacity(conic: vec3, o: real, d: vec2):
        """Opacity before it is clamped."""
        return o * wp.exp(-real(0.5) * (conic[0] * d[0] * d[0] + conic[2] * d[1] * d[1]) - conic[1] * d[0] * d[1])

    @wp.func
    def row_of(rows: wp.array(dtype=wp.int64), s: int):
        row = wp.int64(s)
        if rows.shape[0] > 0:
            row = rows[s]
        return row

    @wp.kernel(module=module, enable_backward=False)
    def composite(
        width: int,
        height: int,
        channels: int,
        starts: wp.array(dtype=wp.int32),
        entries: wp.array(dtype=wp.int32),
        means2d: wp.array(dtype=vec2),
        conics: wp.array(dtype=vec3),
        opacities: wp.array(dtype=real),
        rows: wp.array(dtype=wp.int64),
        colors: wp.array2d(dtype=real),
        backgrounds: wp.array2d(dtype=real),
        out: wp.array2d(dtype=real),
        alphas: wp.array(dtype=real),
        transmittance: wp.array(dtype=real),
        threads: int,
        first: int,
    ):
        thread = (wp.tid() + first) % threads
        begin = (wp.tid() + first) // threads * registers
        at = place(thread, width, height)
        inside = at[1] < width and at[2] < height
        T = zero
        if inside:
            T = one
        alive = int(inside)
        image = pixel()
        for e in range(starts[at[0]], starts[at[0] + 1]):
            if anybody(alive) == 0:
                break
            s = entries[e]
            alpha = wp.min(opacity(conics[s], opacities[s], offset(means2d, s, at[1], at[2])), real(ALPHA_MAX))
            if alive == 1 and alpha >= real(ALPHA_MIN):
                after = T - T * alpha
                if after <= real(TRANSMITTANCE_MIN):
                    alive = 0
                else:
                    row = row_of(rows, s)
                    for d in range(registers):
                        if begin + d < channels:
                            image[d] += T * alpha * colors[row, wp.int64(begin + d)]
                    T = after
        if inside:
            p = (wp.int64(at[3]) * wp.int64(height) + wp.int64(at[2])) * wp.int64(width) + wp.int64(at[1])
            if begin == 0:
                transmittance[p] = T
                alphas[p] = one - T
            for d in range(registers):
                if begin + d < channels:
                    value = image[d]
                    if backgrounds.shape[0] > 0:
                        value += T * backgrounds[at[3], begin + d]
                    out[p, wp.int64(begin + d)] = value

    @wp.kernel(module=module, enable_backward=False)
    def adjoint(
        width: int,
        height: int,
        channels: int,
        starts: wp.array(dtype=wp.int32),
        entries: wp.array(dtype=wp.int32),
        means2d: wp.array(dtype=vec2),
        conics: wp.array(dtype=vec3),
        opacities: wp.array(dtype=real),
        rows: wp.array(dtype=wp.int64),
        colors: wp.array2d(dtype=real),
        out: wp.array2d(dtype=real),
        transmittance: wp.array(dtype=real),
        v_out: wp.array2d(dtype=real),
        v_alphas: wp.array(dtype=real),
        v_means2d: wp.array2d(dtype=real),
        v_absolute: wp.array2d(dtype=real),
        v_conics: wp.array2d(dtype=real),
        v_opacities: wp.array(dtype=real),
        v_colors: wp.array2d(dtype=real),
        first: int,
    ):
        at = place(wp.tid() + first, width, height)
        inside = at[1] < width and at[2] < height
        p = wp.int64(0)
        T = zero
        rest = zero
        if inside:
            p = (wp.int64(at[3]) * wp.int64(height) + wp.int64(at[2])) * wp.int64(width) + wp.int64(at[1])
            T = one
            for d in range(channels):
                rest += out[p, wp.int64(d)] * v_out[p, wp.int64(d)]
            if v_alphas.shape[0] > 0:
                rest -= transmittance[p] * v_alphas[p]
        alive = int(inside)
        for e in range(starts[at[0]], starts[at[0] + 1]):
            if anybody(alive) == 0:
                break
            s = entries[e]
            conic = conics[s]
            o = opacities[s]
            away = offset(means2d, s, at[1], at[2])
            raw = opacity(conic, o, away)
            alpha = wp.min(raw, real(ALPHA_MAX))
            row = row_of(rows, s)
            w = zero
            q = zero
            if alive == 1 and alpha >= real(ALPHA_MIN):
                after = T - T * alpha
                if after <= real(TRANSMITTANCE_MIN):
                    alive = 0
                else:
                    w = T * alpha
                    seen = zero
                    for d in range(channels):
                        seen += colors[row, wp.int64(d)] * v_out[p, wp.int64(d)]
                    rest -= w * seen
                    if raw <= real(ALPHA_MAX):
                        q = alpha * (T * seen - rest / (one - alpha))
                    T = after
            if anybody(int(w > zero)) != 0:
                gx = q * (conic[0] * away[0] + conic[1] * away[1])
                gy = q * (conic[1] * away[0] + conic[2] * away[1])
                sx, sy, so = total(gx), total(gy), total(q)
                a = total(q * away[0] * away[0])
                b = total(q * away[0] * away[1])
                c = total(q * away[1] * away[1])
                lead = leads()
                if lead == 1:
                    wp.atomic_add(v_means2d, s, 0, sx)
                    wp.atomic_add(v_means2d, s, 1, sy)
                    wp.atomic_add(v_conics, s, 0, -real(0.5) * a)
                    wp.atomic_add(v_conics, s, 1, -b)
                    wp.atomic_add(v_conics, s, 2, -real(0.5) * c)
                    wp.atomic_add(v_opacities, s, so / o)
                if v_absolute.shape[0] > 0:
                    ax, ay = total(wp.abs(gx)), total(wp.abs(gy))
                    if lead == 1:
                        wp.atomic_add(v_absolute, s, 0, ax)
                        wp.atomic_add(v_absolute, s, 1, ay)
                for d in range(channels):
                    x = zero
                    if w > zero:
                        x = w * v_out[p, wp.int64(d)]
                    x = total(x)
                    if lead == 1:
                        wp.atomic_add(v_colors, row, wp.int64(d), x)

    @wp.kernel(module=module, enable_backward=False)
    def lift(
        width: int,
        height: int,
        channels: int,
        starts: wp.array(dtype=wp.int32),
        entries: wp.array(dtype=wp.int32),
        means2d: wp.array(dtype=vec2),
        conics: wp.array(dtype=vec3),
        opacities: wp.array(dtype=real),
        rows: wp.array(dtype=wp.int64),
        maps: wp.array2d(dtype=real),
        sums: wp.array2d(dtype=real),
        totals: wp.array(dtype=real),
        first: int,
    ):
        at = place(wp.tid() + first, width, height)
        inside = at[1] < width and at[2] < height
        p = wp.int64(0)
        T = zero
        if inside:
            p = (wp.int64(at[3]) * wp.int64(height) + wp.int64(at[2])) * wp.int64(width) + wp.int64(at[1])
            T = one
        alive = int(inside)
        for e in range(starts[at[0]], starts[at[0] + 1]):
            if anybody(alive) == 0:
                break
            s = entries[e]
            alpha = wp.min(opacity(conics[s], opacities[s], offset(means2d, s, at[1], at[2])), real(ALPHA_MAX))
            w = zero
            if alive == 1 and alpha >= real(ALPHA_MIN):
                after = T - T * alpha
                if after <= real(TRANSMITTANCE_MIN):
                    alive = 0
                else:
                    w = T * alpha
                    T = after
            if anybody(int(w > zero)) != 0:
                row = row_of(rows, s)
                lead = leads()
                weight = total(w)
                if lead == 1 and totals.shape[0] > 0:
                    wp.atomic_add(totals, row, weight)
                for d in range(channels):
                    x = zero
                    if w > zero:
                        x = w * maps[p, wp.int64(d)]
                    x = total(x)
                    if lead == 1:
                        wp.atomic_add(sums, row, wp.int64(d), x)

    @wp.kernel(module=module, enable_backward=False)
    def strongest(
        width: int,
        height: int,
        k: int,
        starts: wp.array(dtype=wp.int32),
        entries: wp.array(dtype=wp.int32),
        means2d: wp.array(dtype=vec2),
        conics: wp.array(dtype=vec3),
        opacities: wp.array(dtype=real),
        rows: wp.array(dtype=wp.int64),
        ids: wp.array2d(dtype=wp.int64),
        weights: wp.array2d(dtype=real),
        first: int,
    ):
        at = place(wp.tid() + first, width, height)
        if at[1] >= width or at[2] >= height:
            return
        p = (at[3] * height + at[2]) * width + at[1]
        T = one
        for e in range(starts[at[0]], starts[at[0] + 1]):
            s = entries[e]
            alpha = wp.min(opacity(conics[s], opacities[s], offset(means2d, s, at[1], at[2])), real(ALPHA_MAX))
            if alpha >= real(ALPHA_MIN):
                after = T - T * alpha
                if after <= real(TRANSMITTANCE_MIN):
                    break
                w = T * alpha
                slot = int(k)
                while slot > 0 and w > weights[p, wp.max(slot - 1, 0)]:
                    if slot < k:
                        weights[p, slot] = weights[p, slot - 1]
                        ids[p, slot] = ids[p, slot - 1]
                    slot -= 1
                if slot < k:
                    weights[p, slot] = w
                    ids[p, slot] = row_of(rows, s)
                T = after

    @wp.kernel(module=module, enable_backward=False)
    def cells(
        width: int,
        height: int,
        channels: int,
        starts: wp.array(dtype=wp.int32),
        entries: wp.array(dtype=wp.int32),
        means2d: wp.array(dtype=vec2),
        conics: wp.array(dtype=vec3),
        opacities: wp.array(dtype=real),
        rows: wp.array(dtype=wp.int64),
        sums: wp.array2d(dtype=real),
        first: int,
    ):
        at = place(wp.tid() + first, width, height)
        if at[1] >= width or at[2] >= height:
            return
        part = at[2] % TILE // CELL * 2 + at[1] % TILE // CELL
        T = one
        for e in range(starts[at[0]], starts[at[0] + 1]):
            s = entries[e]
            alpha = wp.min(opacity(conics[s], opacities[s], offset(means2d, s, at[1], at[2])), real(ALPHA_MAX))
            if alpha >= real(ALPHA_MIN):
                after = T - T * alpha
                if after <= real(TRANSMITTANCE_MIN):
                    break
                wp.atomic_add(sums, e, part, T * alpha)
                T = after

    return composite, adjoint, lift, strongest, cells
