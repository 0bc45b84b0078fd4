"""Images of a frame on the CPU, and their adjoints: which kernels run on which memory."""

import torch
from torch import Tensor

from .. import bridge
from .channels_cpu import channel_kernels
from .frame import PER_GAUSSIAN, PER_SPLAT, Frame
from .strongest_cpu import strongest_kernel
from .tiles_cpu import MAX_CHANNELS, color_reduction, compositing, compositing_adjoint

SCRATCH = 64 << 20  # bytes of gradient rows made at a time
MIN_CHANNELS = 8  # that the kernels for many channels can take


def _real(like: Tensor):
    return bridge.REAL[like.dtype]


def _flat(tensor: Tensor | None):
    return bridge.share(None if tensor is None else tensor.view(-1))


def _scene(frame: Frame, *extra) -> list:
    s = frame.settings
    return [s.width, s.height, *extra, *map(_flat, (frame.starts, frame.list, frame.records))]


def images(frame: Frame, colors: Tensor, backgrounds: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """``(image [C, H, W, D], alpha, transmittance [C, H, W])``; colours [rows, D]."""
    channels = colors.shape[-1]
    shape = (frame.cameras, frame.settings.height, frame.settings.width)
    image = colors.new_empty(*shape, channels)
    alphas, transmittance = colors.new_empty(shape), colors.new_empty(shape)
    tensors = (colors, backgrounds, image, alphas, transmittance)
    if channels <= MAX_CHANNELS:
        kernel, scene = compositing(_real(colors), channels), _scene(frame)
    else:
        kernel, scene = channel_kernels(_real(colors))[0], _scene(frame, channels)
    bridge.launch_tasks(kernel, frame.tasks, [*scene, *map(_flat, tensors)])
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
    known = [_flat(t) for t in (colors, image, transmittance, v_image, v_alphas)]
    geometry_width = 6 + 2 * absgrad
    # A colour that several splats share needs a sum of its own.
    shared = frame.settings.colors_of == PER_GAUSSIAN and frame.cameras > 1
    v_colors = torch.empty_like(colors)
    if channels <= MAX_CHANNELS:
        kernel, reduction = compositing_adjoint(real, channels, absgrad)
        rows = colors.new_empty(len(frame.list), geometry_width + channels)
        bridge.launch_tasks(kernel, frame.tasks, [*_scene(frame), *known, _flat(rows)])
        if not shared and frame.ids is not None and len(frame.ids) < v_colors.numel() // channels:
            v_colors.zero_()
        grads = _sums(reduction, frame, rows, conics, opacities, absgrad, None if shared else v_colors)
        if shared:
            _sum_colors(frame, rows, geometry_width, channels, v_colors, 0)
        return grads, v_colors
    if not geometry:
        lift(frame, v_image, v_colors, None, accumulate=False)
        return (None,) * 4, v_colors
    count = _columns(frame, channels, colors.element_size())
    rows = colors.new_empty(len(frame.list), geometry_width + count)
    kernel = channel_kernels(real, absgrad)[1]
    bridge.launch_tasks(kernel, frame.tasks, [*_scene(frame, channels), count, *known, _flat(rows)])
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
    """Adjoint of :func:`images` with respect to colours, from channel ``first`` on: writes or adds to ``sums`` [rows, D]
    from maps [C, H, W, D], and adds the weights to ``totals`` [rows]. D is at least MIN_CHANNELS."""
    channels = maps.shape[-1]
    kernel = channel_kernels(_real(maps))[2]
    while first < channels:
        count = _columns(frame, channels - first, maps.element_size())
        rows = maps.new_empty(len(frame.list), count)
        weights = maps.new_empty(len(frame.list), 1) if totals is not None and first == 0 else None
        outputs = map(_flat, (maps, rows, weights))
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
    own = frame.ids if v_colors is not None and frame.settings.colors_of != PER_SPLAT else None
    outputs = (v_means2d, absolute, v_conics, v_opacities)
    arguments = map(_flat, (frame.rank, conics, opacities, own, *outputs, v_colors))
    bridge.launch(reduction, opacities.numel(), [_flat(rows), rows.shape[1], *arguments], rows)
    return outputs


def _sum_colors(frame, rows, column: int, count: int, out: Tensor, channel: int, accumulate=False) -> None:
    """``out[:, channel : channel + count]`` from the columns from ``column`` on of the rows of intersections."""
    channels = out.shape[-1]
    entries = out.numel() // channels
    arguments = [
        _flat(rows), rows.shape[1], column, count, _flat(frame.rank), _flat(frame.slots), frame.settings.colors_of, entries,
        _flat(out), channels, channel, int(accumulate),
    ]  # fmt: skip
    bridge.launch(color_reduction(_real(rows)), entries, arguments, rows)


def strongest(frame: Frame, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` Gaussians of largest weight per pixel: ids and weights [C, H, W, k]."""
    shape = (frame.cameras, frame.settings.height, frame.settings.width, k)
    ids = torch.full(shape, -1, dtype=torch.int64)
    weights = frame.depths.new_zeros(shape)
    bridge.launch_tasks(
        strongest_kernel(_real(weights)), frame.tasks, [*_scene(frame, k), _flat(ids), _flat(weights)]
    )
    return ids, weights
