"""Gaussians projected into cameras, sorted and listed per tile: all that compositing needs."""

from dataclasses import dataclass

from torch import Tensor

from .constants import TILE

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
    ids: Tensor | None = None
    slots: Tensor | None = None
    starts: Tensor | None = None
    list: Tensor | None = None
    records: Tensor | None = None
    rank: Tensor | None = None

    @property
    def tasks(self) -> int:
        """Number of tiles in all cameras."""
        return len(self.starts) - 1
