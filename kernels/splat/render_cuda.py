"""Images of a frame on a CUDA device, and their adjoints: which kernels run on which memory.

The functions are those of :mod:`.render_cpu`.
"""

import torch
from torch import Tensor

from .. import bridge
from ..bridge import flat
from .channels_cuda import GROUPS, channel_kernels
from .frame import PER_GAUSSIAN, PER_SPLAT, Frame
from .native_cuda import PIXELS, lanes
from .pixels_cuda import MAX_CHANNELS, compositing
from .tiles_cuda import emission, weighing


def arrange(frame: Frame, boxes: Tensor) -> None:
    """Sort by depth, list per tile, compact if packed."""
    s = frame.settings
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
        flat(drawn), flat(boxes, 4), flat(frame.slots), flat(firsts), frame.gaussians, tiles_x, tiles_y, flat(tile),
        flat(splat),
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


def _scene(frame: Frame, channels: int, widths: tuple[int, int] = (1, 1)) -> list:
    """Leading arguments of the kernels; centres and conics as vectors of ``widths``."""
    s = frame.settings
    return [
        s.width, s.height, channels, flat(frame.starts), flat(frame.list), flat(frame.means2d, widths[0]),
        flat(frame.conics, widths[1]), flat(frame.opacities), flat(_rows(frame)),
    ]  # fmt: skip


def images(frame: Frame, colors: Tensor, backgrounds: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """``(image [C, H, W, D], alpha, transmittance [C, H, W])``; colours [rows, D]."""
    channels, real = colors.shape[-1], bridge.REAL[colors.dtype]
    shape = (frame.cameras, frame.settings.height, frame.settings.width)
    image = colors.new_empty(*shape, channels)
    alphas, transmittance = colors.new_empty(shape), colors.new_empty(shape)
    if channels <= MAX_CHANNELS:
        kernel, passes = compositing(real, channels)[0], 1
    else:
        kernel, passes = channel_kernels(real)[0], -(-channels // (GROUPS * lanes(colors)))
    arguments = [*_scene(frame, channels), *map(flat, (colors, backgrounds, image, alphas, transmittance))]
    bridge.launch(kernel, frame.tasks * PIXELS * passes, arguments, colors)
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
    channels, real = colors.shape[-1], bridge.REAL[colors.dtype]
    v_colors = torch.zeros_like(colors)
    if not geometry:
        lift(frame, v_image, v_colors, None)
        return (None,) * 4, v_colors
    v_means2d = conics.new_zeros(*opacities.shape, 2)
    absolute = torch.zeros_like(v_means2d) if absgrad else None
    v_conics, v_opacities = torch.zeros_like(conics), torch.zeros_like(opacities)
    kernel = (compositing(real, channels) if channels <= MAX_CHANNELS else channel_kernels(real))[1]
    known = (colors, image, transmittance, v_image, v_alphas)
    found = (v_means2d, absolute, v_conics, v_opacities, v_colors)
    arguments = [*_scene(frame, channels), *map(flat, known), *map(flat, found)]
    bridge.launch(kernel, frame.tasks * PIXELS, arguments, colors)
    return (v_means2d, absolute, v_conics, v_opacities), v_colors


def lift(frame: Frame, maps: Tensor, sums: Tensor, totals: Tensor | None) -> None:
    """Adjoint of :func:`images` with respect to colours, for any ``maps`` [C, H, W, D]: adds to ``sums`` [rows, D], and
    the weights to ``totals`` [rows]."""
    kernel = channel_kernels(bridge.REAL[maps.dtype])[2]
    arguments = [*_scene(frame, maps.shape[-1]), *map(flat, (maps, sums, totals))]
    bridge.launch(kernel, frame.tasks * PIXELS, arguments, maps)


def strongest(frame: Frame, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` Gaussians of largest weight per pixel: ids and weights [C, H, W, k]."""
    shape = (frame.cameras, frame.settings.height, frame.settings.width, k)
    ids = torch.full(shape, -1, dtype=torch.int64, device=frame.depths.device)
    weights = frame.depths.new_zeros(shape)
    kernel = weighing(bridge.REAL[weights.dtype])[0]
    arguments = [*_scene(frame, k, (2, 3)), bridge.share(ids.view(-1, k)), bridge.share(weights.view(-1, k))]
    bridge.launch(kernel, frame.tasks * PIXELS, arguments, weights)
    return ids, weights


def cell_sums(frame: Frame) -> tuple[Tensor, Tensor]:
    """Gaussian of each intersection with a tile, in the order of ``frame.list`` [E], and the sums of its weights over
    the tile's four cells, row by row [E, 4]."""
    sums = frame.depths.new_zeros(len(frame.list), 4)
    kernel = weighing(bridge.REAL[sums.dtype])[1]
    arguments = [*_scene(frame, 4, (2, 3)), bridge.share(sums)]
    bridge.launch(kernel, frame.tasks * PIXELS, arguments, sums)
    return _rows(frame)[frame.list.long()], sums
