"""Images of a frame on a CUDA device, and their adjoints: which kernels run on which memory.

The functions are those of :mod:`.render_cpu`.
"""

import torch
from torch import Tensor

from .. import bridge
from .frame import PER_GAUSSIAN, PER_SPLAT, Frame
from .tiles_cuda import PIXELS, REGISTERS, compositing, emission


def arrange(frame: Frame, boxes: Tensor) -> None:
    """Sort by depth, list per tile, compact if packed."""
    s, share = frame.settings, bridge.share
    tiles_x, tiles_y = s.tiles
    tiles = frame.cameras * tiles_x * tiles_y
    visible = frame.radii[:, 0] > 0
    places = torch.arange(len(visible), device=boxes.device)
    if s.packed:
        places = visible.cumsum(0) - 1
        frame.ids = visible.nonzero()[:, 0]
    frame.slots = torch.where(visible, places, -1).int()

    covered = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    drawn = covered.nonzero()[:, 0]
    drawn = drawn[frame.depths[drawn].sort(stable=True).indices]
    ends = covered[drawn].cumsum(0)
    intersections = int(ends[-1]) if len(ends) else 0
    if intersections > 2**31 - 1:
        raise RuntimeError(f"too many intersections of Gaussians with tiles to index: {intersections}")
    tile, splat = torch.empty(2, intersections, dtype=torch.int32, device=boxes.device)
    firsts = ends - covered[drawn]
    arguments = [
        share(drawn), share(boxes, bridge.VEC4I), share(frame.slots), share(firsts), frame.gaussians, tiles_x,
        tiles_y, share(tile), share(splat),
    ]  # fmt: skip
    bridge.launch(emission(bridge.REAL[frame.depths.dtype]), len(drawn), arguments, boxes)
    tile, by_tile = tile.sort(stable=True)
    frame.list = splat[by_tile]
    bounds = torch.arange(tiles + 1, dtype=torch.int32, device=boxes.device)
    frame.starts = torch.searchsorted(tile, bounds, out_int32=True)
    if s.packed:
        covered = covered[frame.ids]
        for name in ("means2d", "depths", "conics", "opacities", "radii", "colors"):
            value = getattr(frame, name)
            setattr(frame, name, None if value is None else value[frame.ids])
    # The kernels have no rows of intersections: only the numbers are of use.
    frame.rank = torch.stack([torch.zeros_like(covered), covered], 1)


def usable(colors: Tensor) -> Tensor:
    """Which rows of colours [..., D] hold only finite numbers."""
    return colors.isfinite().all(-1).view(-1)


def _rows(frame: Frame) -> Tensor | None:
    """Row of colours of each splat, int64 [S]; None where splats have their own."""
    if frame.settings.colors_of == PER_SPLAT:
        return None
    rows = frame.ids
    if rows is None:
        rows = torch.arange(frame.cameras * frame.gaussians, device=frame.slots.device)
    return rows % frame.gaussians if frame.settings.colors_of == PER_GAUSSIAN else rows


def _scene(frame: Frame, channels: int, means2d: Tensor, conics: Tensor, opacities: Tensor) -> list:
    s, share = frame.settings, bridge.share
    rows = _rows(frame)
    return [
        s.width, s.height, channels, share(frame.starts), share(frame.list),
        share(means2d.view(-1, 2), bridge.vector(2, means2d.dtype)),
        share(conics.view(-1, 3), bridge.vector(3, conics.dtype)), share(opacities.view(-1)), share(rows),
    ]  # fmt: skip


def _geometry(frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
    return frame.means2d, frame.conics, frame.opacities


def _table(tensor: Tensor | None):
    """Rows of channels."""
    return bridge.share(None if tensor is None else tensor.view(-1, tensor.shape[-1]))


def _line(tensor: Tensor | None):
    return bridge.share(None if tensor is None else tensor.view(-1))


def _kernels(like: Tensor, channels: int):
    """Kernels for threads that hold a power of two of channels."""
    registers = 4
    while registers < min(channels, REGISTERS):
        registers *= 2
    return registers, compositing(bridge.REAL[like.dtype], registers)


def images(frame: Frame, colors: Tensor, backgrounds: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """``(image [C, H, W, D], alpha, transmittance [C, H, W])``; colours [rows, D]."""
    channels = colors.shape[-1]
    shape = (frame.cameras, frame.settings.height, frame.settings.width)
    image = colors.new_empty(*shape, channels)
    alphas, transmittance = colors.new_empty(shape), colors.new_empty(shape)
    registers, kernels = _kernels(colors, channels)
    threads = frame.tasks * PIXELS
    arguments = [
        *_scene(frame, channels, *_geometry(frame)), _table(colors), _table(backgrounds), _table(image), _line(alphas),
        _line(transmittance), threads,
    ]  # fmt: skip
    bridge.launch(kernels[0], threads * -(-channels // registers), arguments, colors)
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
    """``((v_means2d, v_absolute, v_conics, v_opacities), v_colors)`` of :func:`images`."""
    channels = colors.shape[-1]
    v_colors = torch.zeros_like(colors)
    if not geometry:
        lift(frame, v_image, v_colors, None)
        return (None,) * 4, v_colors
    v_means2d = conics.new_zeros(*opacities.shape, 2)
    absolute = torch.zeros_like(v_means2d) if absgrad else None
    v_conics, v_opacities = torch.zeros_like(conics), torch.zeros_like(opacities)
    kernel = _kernels(colors, channels)[1][1]
    arguments = [
        *_scene(frame, channels, *_geometry(frame)), _table(colors), _table(image), _line(transmittance),
        _table(v_image), _line(v_alphas), _table(v_means2d), _table(absolute), _table(v_conics), _line(v_opacities),
        _table(v_colors),
    ]  # fmt: skip
    bridge.launch(kernel, frame.tasks * PIXELS, arguments, colors)
    return (v_means2d, absolute, v_conics, v_opacities), v_colors


def lift(frame: Frame, maps: Tensor, sums: Tensor, totals: Tensor | None) -> None:
    """Adjoint of :func:`images` with respect to colours, for any ``maps`` [C, H, W, D]: adds to ``sums`` [rows, D], and
    the weights to ``totals`` [rows]."""
    channels = maps.shape[-1]
    kernel = _kernels(maps, channels)[1][2]
    arguments = [
        *_scene(frame, channels, *_geometry(frame)), _table(maps), _table(sums), _line(totals),
    ]  # fmt: skip
    bridge.launch(kernel, frame.tasks * PIXELS, arguments, maps)


def strongest(frame: Frame, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` Gaussians of largest weight per pixel: ids and weights [C, H, W, k]."""
    shape = (frame.cameras, frame.settings.height, frame.settings.width, k)
    ids = torch.full(shape, -1, dtype=torch.int64, device=frame.depths.device)
    weights = frame.depths.new_zeros(shape)
    kernel = _kernels(weights, 1)[1][3]
    arguments = [*_scene(frame, k, *_geometry(frame)), _table(ids), _table(weights)]
    bridge.launch(kernel, frame.tasks * PIXELS, arguments, weights)
    return ids, weights


def cell_sums(frame: Frame) -> tuple[Tensor, Tensor]:
    """Gaussian of each intersection with a tile, in the order of ``frame.list`` [E], and the sums of its weights over
    the tile's four cells, row by row [E, 4]."""
    sums = frame.depths.new_zeros(len(frame.list), 4)
    kernel = _kernels(sums, 1)[1][4]
    arguments = [*_scene(frame, 4, *_geometry(frame)), _table(sums)]
    bridge.launch(kernel, frame.tasks * PIXELS, arguments, sums)
    return _rows(frame)[frame.list.long()], sums
