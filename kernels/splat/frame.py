"""Gaussians projected into cameras, sorted and listed per tile: all that compositing needs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import bridge
from .constants import TILE
from .native import RECORD_INTS
from .order import ordering
from .projection import projection

BLOCK = 4096  # Gaussians per task when records are written

# How a splat finds its row of colours: it has one of its own, its Gaussian has one, or its Gaussian has one per camera.
PER_SPLAT, PER_GAUSSIAN, PER_CAMERA = 0, 1, 2


@dataclass(frozen=True)
class Settings:
    """What a projection depends on beside tensors; see :func:`rasterization` for the meaning."""

    width: int
    height: int
    near_plane: float
    far_plane: float
    radius_clip: float
    eps2d: float
    degree: int  # of the spherical harmonics, -1 without
    ortho: bool
    antialiased: bool
    packed: bool
    colors_of: int

    @classmethod
    def of(
        cls, width, height, near_plane, far_plane, radius_clip, eps2d, rasterize_mode, camera_model, colors_of,
        degree=-1, packed=False,
    ) -> "Settings":  # fmt: skip
        """Settings from the public functions' arguments, which are checked."""
        if camera_model not in ("pinhole", "ortho"):
            raise NotImplementedError(f"camera_model: pinhole or ortho, got {camera_model!r}")
        if rasterize_mode not in ("classic", "antialiased"):
            raise ValueError(f"rasterize_mode: classic or antialiased, got {rasterize_mode!r}")
        if width < 1 or height < 1:
            raise ValueError(f"width, height: must be positive, got {width}x{height}")
        return cls(
            int(width), int(height), float(near_plane), float(far_plane), float(radius_clip), float(eps2d), degree,
            camera_model == "ortho", rasterize_mode == "antialiased", packed, colors_of,
        )  # fmt: skip

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles per row and per column."""
        return -(-self.width // TILE), -(-self.height // TILE)


@dataclass
class Frame:
    """Splats (Gaussians as cameras see them) in C cameras of N Gaussians; S of them, E intersections with tiles.

    Attributes:
        settings: what the projection depended on.
        cameras, gaussians: C, N.
        means2d [S, 2], depths [S], conics [S, 3], opacities [S], radii [S, 2] int32; S = C * N unless packed.
        colors [S, 3] from spherical harmonics, or None.
        ids: index in C * N of each splat, int64 [S]; None unless packed.
        slots: splat of each Gaussian in each camera, -1 for none, int32 [C * N].
        starts: first entry of each tile in ``list``, int32 [C * tiles + 1].
        list: the intersections, tile by tile, front to back: index into ``records`` (CPU) or splat (CUDA), int32 [E].
        records: what the CPU's kernels read of each Gaussian that is drawn, front to back; see :mod:`.native`.
        rank: first intersection and number of intersections of each splat, int32 [S, 2].
    """

    settings: Settings
    cameras: int
    gaussians: int
    means2d: Tensor
    depths: Tensor
    conics: Tensor
    opacities: Tensor
    radii: Tensor
    colors: Tensor | None
    ids: Tensor | None
    slots: Tensor
    starts: Tensor
    list: Tensor
    records: Tensor
    rank: Tensor

    @property
    def tasks(self) -> int:
        """Number of tiles in all cameras."""
        return len(self.starts) - 1


@dataclass
class Gaussians:
    """Inputs of a projection, detached and contiguous: see :func:`rasterization`; absent ones are None.

    ``usable`` [N] or [C * N] marks Gaussians whose colours are numbers; ``eyes`` [C, 3] are the camera centres.
    """

    means: Tensor
    quats: Tensor | None
    scales: Tensor | None
    covars: Tensor | None
    opacities: Tensor
    usable: Tensor | None
    sh: Tensor | None
    viewmats: Tensor
    Ks: Tensor
    eyes: Tensor

    def arguments(self, adjoint: bool = False) -> list:
        """The kernels' leading arguments."""
        share = bridge.share
        dtype = self.means.dtype
        vec3, vec4 = bridge.vector(3, dtype), bridge.vector(4, dtype)
        mat33, mat44 = bridge.matrix(3, dtype), bridge.matrix(4, dtype)
        sh, sh_count, per_camera = self.sh, 0, 0
        if sh is not None:
            sh_count, per_camera = sh.shape[-2], int(sh.ndim == 4)
            sh = sh.view(-1, 3)
        usable = [] if adjoint else [share(self.usable)]
        return [
            share(self.means, vec3), share(self.quats, vec4), share(self.scales, vec3),
            share(None if self.covars is None else self.covars.view(-1)), share(self.opacities), *usable,
            share(sh, vec3), sh_count, per_camera, share(self.viewmats, mat44), share(self.Ks, mat33),
            share(self.eyes, vec3),
        ]  # fmt: skip


def kernels(settings: Settings, gaussians: Gaussians):
    """The projection's kernel and its adjoint for these inputs."""
    real = bridge.REAL[gaussians.means.dtype]
    return projection(
        real, settings.degree, settings.ortho, settings.antialiased, gaussians.covars is not None
    )


def project(gaussians: Gaussians, settings: Settings) -> Frame:
    """Project, cull, sort and list."""
    s = settings
    means = gaussians.means
    cameras, count = len(gaussians.viewmats), len(means)
    total = cameras * count
    real = bridge.REAL[means.dtype]
    share = bridge.share
    means2d, conics = means.new_empty(total, 2), means.new_empty(total, 3)
    depths, opacities = means.new_empty(total), means.new_empty(total)
    radii = torch.empty(total, 2, dtype=torch.int32, device=means.device)
    boxes = torch.empty(total, 4, dtype=torch.int32, device=means.device)
    colors = means.new_empty(total, 3) if s.degree >= 0 else None
    kernel, _ = kernels(s, gaussians)
    vec2, vec3 = bridge.vector(2, means.dtype), bridge.vector(3, means.dtype)
    bridge.launch(
        kernel,
        total,
        [
            *gaussians.arguments(), s.width, s.height, s.near_plane, s.far_plane, s.radius_clip, s.eps2d,
            share(means2d, vec2), share(depths), share(conics, vec3), share(opacities), share(radii, bridge.VEC2I),
            share(boxes, bridge.VEC4I), share(colors, vec3),
        ],
        means,
    )  # fmt: skip
    return _arranged(
        Frame(
            s, cameras, count, means2d, depths, conics, opacities, radii, colors, None,
            *(torch.empty(0, dtype=torch.int32) for _ in range(5)),
        ),
        boxes,
        real,
    )  # fmt: skip


def _arranged(frame: Frame, boxes: Tensor, real) -> Frame:
    """Sort by depth, list per tile, compact if packed; on the CPU."""
    s, share = frame.settings, bridge.share
    order, arrange = ordering(real)
    total = len(frame.depths)
    tiles_x, tiles_y = s.tiles
    tiles = frame.cameras * tiles_x * tiles_y
    ints = torch.empty(4 * total + tiles + 1, dtype=torch.int32)
    ordered, firsts, slots, starts = ints.split((2 * total, total, total, tiles + 1))
    keys = torch.empty(2 * total, dtype=torch.int64)
    counts = torch.empty(3, dtype=torch.int64)
    boxes_, radii_ = share(boxes, bridge.VEC4I), share(frame.radii, bridge.VEC2I)
    bridge.launch_once(
        order,
        [
            share(frame.depths), radii_, boxes_, frame.gaussians, tiles_x, tiles_y, int(s.packed), share(keys),
            share(ordered), share(firsts), share(slots), share(starts), share(counts),
        ],
    )  # fmt: skip
    seen, drawn, intersections = counts.tolist()
    if intersections > 2**31 - 1:
        raise RuntimeError(f"too many intersections of Gaussians with tiles to index: {intersections}")
    frame.slots, frame.starts = slots, starts
    frame.list = torch.empty(intersections, dtype=torch.int32)
    frame.records = torch.empty(drawn, RECORD_INTS[real], dtype=torch.int32)
    frame.rank = torch.zeros(seen if s.packed else total, 2, dtype=torch.int32)
    bridge.launch_tasks(
        arrange,
        1 + -(-drawn // BLOCK),
        [
            share(frame.means2d.view(-1)), share(frame.conics.view(-1)), share(frame.opacities), boxes_,
            frame.gaussians, tiles_x, tiles_y, s.colors_of, drawn, BLOCK, share(ordered), share(firsts),
            share(slots), share(starts), share(torch.empty_like(starts)), share(frame.records.view(-1)),
            share(frame.rank.view(-1)), share(frame.list),
        ],
    )  # fmt: skip
    if s.packed:
        frame.ids = torch.arange(total) if seen == total else (slots >= 0).nonzero()[:, 0]
        if seen < total:
            for name in ("means2d", "depths", "conics", "opacities", "radii", "colors"):
                value = getattr(frame, name)
                if value is not None:
                    setattr(frame, name, value.index_select(0, frame.ids))
    return frame
