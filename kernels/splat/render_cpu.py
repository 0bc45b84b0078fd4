"""Images of a frame on the CPU, and their adjoints: which kernels run on which memory."""

import torch
from torch import Tensor

from .. import bridge
from ..bridge import flat
from .cells_cpu import cells_kernel
from .channels_cpu import channel_kernels
from .finite_cpu import finite_kernel
from .frame import PER_GAUSSIAN, PER_SPLAT, Frame
from .native import RECORD_INTS
from .order import ordering
from .strongest_cpu import strongest_kernel
from .tiles_cpu import MAX_CHANNELS, color_reduction, compositing, compositing_adjoint, lifting

BLOCK = 4096  # Gaussians per task when records are written
SCRATCH = 256 << 20  # bytes of gradient rows made at a time
MIN_CHANNELS = 8  # that the kernels for many channels can take


def _real(like: Tensor):
    return bridge.REAL[like.dtype]


def _scene(frame: Frame, *extra) -> list:
    s = frame.settings
    return [s.width, s.height, *extra, *map(flat, (frame.starts, frame.list, frame.records))]


def arrange(frame: Frame, boxes: Tensor) -> None:
    """Sort by depth, list per tile, find the visible if packed; ``boxes`` [C * N, 4] are rectangles of tiles."""
    s = frame.settings
    real = _real(frame.depths)
    order, deal = ordering(real)
    total = len(frame.depths)
    tiles_x, tiles_y = s.tiles
    tiles = frame.cameras * tiles_x * tiles_y
    ints = torch.empty(4 * total + tiles + 1, dtype=torch.int32, device=boxes.device)
    ordered, firsts, slots, starts = ints.split((2 * total, total, total, tiles + 1))
    keys = torch.empty(2 * total, dtype=torch.int64)
    counts = torch.empty(3, dtype=torch.int64)
    boxes_ = flat(boxes, 4)
    bridge.launch_once(
        order,
        [
            flat(frame.depths), flat(frame.radii, 2), boxes_, frame.gaussians, tiles_x, tiles_y, int(s.packed), flat(keys),
            flat(ordered), flat(firsts), flat(slots), flat(starts), flat(counts),
        ],
    )  # fmt: skip
    seen, drawn, intersections = counts.tolist()
    if intersections > 2**31 - 1:
        raise RuntimeError(f"too many intersections of Gaussians with tiles to index: {intersections}")
    frame.slots, frame.starts = slots, starts
    frame.list = torch.empty(intersections, dtype=torch.int32)
    frame.records = torch.empty(drawn, RECORD_INTS[real], dtype=torch.int32)
    frame.rank = torch.empty(seen if s.packed else total, 2, dtype=torch.int32)
    frame.ids = torch.empty(seen, dtype=torch.int64) if s.packed else None
    splats = (frame.means2d, frame.depths, frame.conics, frame.opacities, frame.radii, frame.colors)
    kept = (None,) * 6
    if s.packed and seen < total:
        kept = [None if x is None else x.new_empty(seen, *x.shape[1:]) for x in splats]
    bridge.launch_tasks(
        deal,
        1 + -(-total // BLOCK),
        [
            *map(flat, (*splats, *kept, frame.ids)), int(s.packed), boxes_, frame.gaussians, tiles_x, tiles_y, s.colors_of, drawn, BLOCK, flat(ordered), flat(firsts),
            flat(slots), flat(starts), flat(torch.empty_like(starts)), flat(frame.records),
            flat(frame.rank), flat(frame.list),
        ],
    )  # fmt: skip
    if kept[0] is not None:
        frame.means2d, frame.depths, frame.conics, frame.opacities, frame.radii, frame.colors = kept


def usable(colors: Tensor) -> Tensor:
    """Which rows of colours [..., D] hold only finite numbers."""
    colors = colors.contiguous()
    marks = torch.empty(colors.shape[:-1], dtype=torch.bool).view(-1)
    arguments = [flat(colors), colors.shape[-1], flat(marks)]
    bridge.launch(finite_kernel(_real(colors)), len(marks), arguments, colors, grain=1 + (1 << 16) // colors.shape[-1])
    return marks


def images(frame: Frame, colors: Tensor, backgrounds: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """``(image [C, H, W, D], alpha, transmittance [C, H, W])``; colours [rows, D]."""
    channels = colors.shape[-1]
    shape = (frame.cameras, frame.settings.height, frame.settings.width)
    image = bridge.empty(colors, *shape, channels)
    alphas, transmittance = colors.new_empty(shape), colors.new_empty(shape)
    tensors = (colors, backgrounds, image, alphas, transmittance)
    if channels <= MAX_CHANNELS:
        kernel, scene = compositing(_real(colors), channels), _scene(frame)
    else:
        kernel, scene = channel_kernels(_real(colors))[0], _scene(frame, channels)
    bridge.launch_tasks(kernel, frame.tasks, [*scene, *map(flat, tensors)])
    return image, alphas, transmittance


def adjoint(
    frame: Frame,
    conics: Tensor,
    opacities: Tensor,
    colors: Tensor,
    image: Tensor,
    transmittance: Tensor,
    v_image: Tensor,
    v_alphas: Tensor | None,
    absgrad: bool,
    geometry: bool,
) -> tuple[tuple, Tensor]:
    """``((v_means2d, v_absolute, v_conics, v_opacities), v_colors)`` of :func:`images`.

    Without ``geometry`` the first four are None; so is ``v_absolute`` without ``absgrad``.
    """
    channels, real = colors.shape[-1], _real(colors)
    known = [flat(t) for t in (colors, image, transmittance, v_image, v_alphas)]
    geometry_width = 6 + 2 * absgrad
    # A colour that several splats share needs a sum of its own.
    shared = frame.settings.colors_of == PER_GAUSSIAN and frame.cameras > 1
    v_colors = bridge.empty(colors, *colors.shape)
    if channels <= MAX_CHANNELS:
        kernel, reduction = compositing_adjoint(real, channels, absgrad)
        rows = bridge.empty(colors, len(frame.list), geometry_width + channels)
        bridge.launch_tasks(kernel, frame.tasks, [*_scene(frame), *known, flat(rows)])
        grads = _sums(reduction, frame, rows, conics, opacities, absgrad, None if shared else v_colors)
        if shared:
            _sum_colors(frame, rows, geometry_width, channels, v_colors, 0)
        return grads, v_colors
    if not geometry:
        lift(frame, v_image, v_colors, None, accumulate=False)
        return (None,) * 4, v_colors
    count = _columns(frame, channels, colors.element_size())
    rows = bridge.empty(colors, len(frame.list), geometry_width + count)
    kernel = channel_kernels(real, absgrad)[1]
    bridge.launch_tasks(kernel, frame.tasks, [*_scene(frame, channels), count, *known, flat(rows)])
    _, reduction = compositing_adjoint(real, 0, absgrad)
    grads = _sums(reduction, frame, rows, conics, opacities, absgrad, None)
    _sum_colors(frame, rows, geometry_width, count, v_colors, 0)
    lift(frame, v_image, v_colors, None, accumulate=False, first=count)
    return grads, v_colors


def _columns(frame: Frame, channels: int, size: int) -> int:
    """How many of the remaining channels' gradients to hold at a time: a multiple of 32, or all."""
    most = max(SCRATCH // (size * max(len(frame.list), 1)) // 32 * 32, 32)
    return channels if channels - most < MIN_CHANNELS else most


def lift(
    frame: Frame,
    maps: Tensor,
    sums: Tensor,
    totals: Tensor | None,
    accumulate: bool = True,
    first: int = 0,
) -> None:
    """Adjoint of :func:`images` with respect to colours, from channel ``first`` on, for gradients or any ``maps``
    [C, H, W, D]: adds to ``sums`` [rows, D], and the weights to ``totals`` [rows]; or overwrites them."""
    channels = maps.shape[-1]
    if channels < MIN_CHANNELS:
        rows = bridge.empty(maps, len(frame.list), channels + 1)
        bridge.launch_tasks(lifting(_real(maps), channels), frame.tasks, [*_scene(frame), flat(maps), flat(rows)])
        _sum_colors(frame, rows, 0, channels, sums, 0, accumulate)
        if totals is not None:
            _sum_colors(frame, rows, channels, 1, totals[:, None], 0, accumulate)
        return
    kernel = channel_kernels(_real(maps))[2]
    while first < channels:
        count = _columns(frame, channels - first, maps.element_size())
        rows = bridge.empty(maps, len(frame.list), count)
        weights = maps.new_empty(len(frame.list), 1) if totals is not None and first == 0 else None
        outputs = map(flat, (maps, rows, weights))
        bridge.launch_tasks(kernel, frame.tasks, [*_scene(frame, channels), first, count, *outputs])
        _sum_colors(frame, rows, 0, count, sums, first, accumulate)
        if weights is not None:
            _sum_colors(frame, weights, 0, 1, totals[:, None], 0, accumulate)
        first += count


def _sums(reduction, frame: Frame, rows, conics, opacities, absgrad: bool, v_colors) -> tuple:
    """Gradients of the splats from the rows of their intersections; fills ``v_colors`` if given."""
    v_means2d = conics.new_empty(*opacities.shape, 2)
    absolute = torch.empty_like(v_means2d) if absgrad else None
    v_conics, v_opacities = torch.empty_like(conics), torch.empty_like(opacities)
    # Row by row of colours where those are asked for, and splat by splat otherwise.
    by_color = v_colors is not None and frame.ids is not None and frame.settings.colors_of != PER_SPLAT
    slots = frame.slots if by_color else None
    outputs = (v_means2d, absolute, v_conics, v_opacities)
    arguments = map(flat, (frame.rank, conics, opacities, slots, *outputs, v_colors))
    count = len(slots) if by_color else opacities.numel()
    bridge.launch(reduction, count, [flat(rows), rows.shape[1], *arguments], rows)
    return outputs


def _sum_colors(frame, rows, column: int, count: int, out: Tensor, channel: int, accumulate=False) -> None:
    """``out[:, channel : channel + count]`` from the columns from ``column`` on of the rows of intersections."""
    channels = out.shape[-1]
    entries = out.numel() // channels
    arguments = [
        flat(rows), rows.shape[1], column, count, flat(frame.rank), flat(frame.slots), frame.settings.colors_of,
        entries, flat(out), channels, channel, int(accumulate),
    ]  # fmt: skip
    bridge.launch(color_reduction(_real(rows)), entries, arguments, rows)


def strongest(frame: Frame, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` Gaussians of largest weight per pixel: ids and weights [C, H, W, k]."""
    shape = (frame.cameras, frame.settings.height, frame.settings.width, k)
    ids = torch.full(shape, -1, dtype=torch.int64)
    weights = frame.depths.new_zeros(shape)
    bridge.launch_tasks(strongest_kernel(_real(weights)), frame.tasks, [*_scene(frame, k), flat(ids), flat(weights)])
    return ids, weights


def cell_sums(frame: Frame) -> tuple[Tensor, Tensor]:
    """Gaussian of each intersection with a tile, in the order of ``frame.list`` [E], and the sums of its weights over
    the tile's four cells, row by row [E, 4]."""
    ids = torch.empty(len(frame.list), dtype=torch.int64, device=frame.depths.device)
    sums = frame.depths.new_empty(len(frame.list), 4)
    bridge.launch_tasks(cells_kernel(_real(sums)), frame.tasks, [*_scene(frame), flat(ids), flat(sums)])
    return ids, sums
