"""Images of a frame on the CPU, and their adjoints: which kernels run on which memory."""

import torch
from torch import Tensor

from .. import bridge
from .channels_cpu import channel_kernels
from .frame import Frame
from .strongest_cpu import strongest_kernel
from .tiles_cpu import MAX_CHANNELS, compositing, compositing_adjoint, reduction

SCRATCH = 64 << 20  # bytes of gradient rows made at a time


def _real(like: Tensor):
    return bridge.REAL[like.dtype]


def _flat(tensor: Tensor | None):
    return bridge.share(None if tensor is None else tensor.view(-1))


def _scene(frame: Frame, *extra) -> list:
    s = frame.settings
    return [s.width, s.height, *extra, *map(_flat, (frame.starts, frame.list, frame.record, frame.place))]


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
    v_colors = torch.empty_like(colors)
    known = [_flat(t) for t in (colors, image, transmittance, v_image, v_alphas)]
    if channels <= MAX_CHANNELS:
        width = 6 + 2 * absgrad + channels
        rows = colors.new_empty(len(frame.list) * width)
        kernel = compositing_adjoint(real, channels, absgrad)
        bridge.launch_tasks(kernel, frame.tasks, [*_scene(frame), *known, _flat(rows)])
        _sum_colors(frame, rows, width, width - channels, channels, v_colors, 0)
        return _sum_geometry(frame, rows, width, conics, opacities, absgrad), v_colors
    grads = (None,) * 4
    if geometry:
        width = 6 + 2 * absgrad
        rows = colors.new_empty(len(frame.list) * width)
        kernel = channel_kernels(real, absgrad)[1]
        bridge.launch_tasks(kernel, frame.tasks, [*_scene(frame, channels), *known, _flat(rows)])
        grads = _sum_geometry(frame, rows, width, conics, opacities, absgrad)
    lift(frame, v_image, v_colors, None, accumulate=False)
    return grads, v_colors


def lift(frame: Frame, maps: Tensor, sums: Tensor, totals: Tensor | None, accumulate: bool = True) -> None:
    """Adjoint of :func:`images` with respect to colours: writes or adds to ``sums`` [rows, D] from maps [C, H, W, D], and
    adds the weights to ``totals`` [rows]. D is at least eight."""
    channels, intersections = maps.shape[-1], len(frame.list)
    kernel = channel_kernels(_real(maps))[2]
    most = max(SCRATCH // (maps.element_size() * max(intersections, 1)) // 32 * 32, 32)
    first = 0
    while first < channels:
        count = min(most, channels - first)
        if channels - first - count < MAX_CHANNELS:
            count = channels - first
        rows = maps.new_empty(intersections * count)
        weights = maps.new_empty(intersections) if totals is not None and first == 0 else None
        bridge.launch_tasks(
            kernel,
            frame.tasks,
            [*_scene(frame, channels), first, count, *map(_flat, (maps, rows, weights))],
        )
        _sum_colors(frame, rows, count, 0, count, sums, first, accumulate)
        if weights is not None:
            _sum_colors(frame, weights, 1, 0, 1, totals[:, None], 0, accumulate)
        first += count


def _sum_geometry(frame: Frame, rows: Tensor, width: int, conics: Tensor, opacities: Tensor, absgrad: bool) -> tuple:
    """Gradients of the splats' geometry from the rows of their intersections."""
    count = opacities.numel()
    v_means2d = conics.new_empty(*opacities.shape, 2)
    absolute = torch.empty_like(v_means2d) if absgrad else None
    v_conics, v_opacities = torch.empty_like(conics), torch.empty_like(opacities)
    outputs = (v_means2d, absolute, v_conics, v_opacities)
    arguments = [_flat(rows), width, *map(_flat, (frame.rank, conics, opacities, *outputs))]
    bridge.launch(reduction(_real(rows))[0], count, arguments, rows)
    return outputs


def _sum_colors(frame, rows, width: int, column: int, count: int, out: Tensor, channel: int, accumulate=False) -> None:
    """``out[:, channel : channel + count]`` from the columns from ``column`` on of the rows of intersections."""
    channels = out.shape[-1]
    entries = out.numel() // channels
    arguments = [
        _flat(rows), width, column, count, _flat(frame.rank), _flat(frame.slots), frame.settings.colors_of, entries,
        _flat(out), channels, channel, int(accumulate),
    ]  # fmt: skip
    bridge.launch(reduction(_real(rows))[1], entries, arguments, rows)


def strongest(frame: Frame, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` Gaussians of largest weight per pixel: ids and weights [C, H, W, k]."""
    shape = (frame.cameras, frame.settings.height, frame.settings.width, k)
    ids = torch.full(shape, -1, dtype=torch.int64)
    weights = frame.depths.new_zeros(shape)
    bridge.launch_tasks(
        strongest_kernel(_real(weights)), frame.tasks, [*_scene(frame, k), _flat(ids), _flat(weights)]
    )
    return ids, weights
