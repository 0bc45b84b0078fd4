"""Lists of tiles on CUDA devices, and who weighs most in them: one thread per pixel.

Plain Warp kernels; they also run on the CPU, slowly and on one thread.
"""

import warp as wp

from ..once import once
from .constants import ALPHA_MAX, ALPHA_MIN, CELL, TILE, TRANSMITTANCE_MIN
from .native_cuda import PIXELS


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
def weighing(real):
    """Kernels ``(strongest, cells)``."""
    vec2, vec3 = wp.types.vector(2, real), wp.types.vector(3, real)
    module = f"semaflow_weighing_{real.__name__}"
    one = real(1.0)

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

    return strongest, cells
