"""Features of maps where points project, for any number of views and pyramid levels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..arguments import expect
from .functions import Sample, Settings
from .native import STORED


def sample_views(
    maps: Tensor | Sequence[Tensor],
    points: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int | None = None,
    height: int | None = None,
    near_plane: float = 0.01,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What every view shows at every point: projection and bilinear lookup in one pass.

    This is how image features reach 3D in IBRNet (Wang et al. 2021, section 3.1) and GP-NeRF (Li et al. 2024). Cells of
    a map share the image evenly: with an image ``width`` pixels wide, column j of w covers the pixels from j width / w
    to (j + 1) width / w, and its value lies in the middle. Between the outermost middles and the image's border values
    go on unchanged (``grid_sample`` with ``align_corners=False, padding_mode="border"``). Differentiable in maps,
    points, viewmats and Ks; on the CPU the same bits every time, whatever the number of threads.

    Args:
        maps: [V, C, h, w] float16, float32 or float64, or a list of pyramid levels of one dtype: [V, C_l, h_l, w_l], any
            sizes, each over the whole image. Read where they lie if channels come last in memory
            (``maps.to(memory_format=torch.channels_last)``), else copied so in every call.
        points: [P, 3] in the world; float64 ones are sampled in float64, others in float32.
        viewmats: [V, 4, 4] world to camera (OpenCV), the last row taken as (0, 0, 0, 1).
        Ks: [V, 3, 3] in pixels of the image, the last row taken as (0, 0, 1).
        width, height: size of that image in pixels; by default that of the first map.
        near_plane: depth from which on a point is in front of the camera.

    Returns:
        Features [P, V, C], the channels of all levels one after another, 0 where not valid; pixels [P, V, 2] (x, y), the
        first pixel's centre at (0.5, 0.5), 0 where not in front of the camera; depth [P, V] along the view's axis,
        negative behind it; valid [P, V], bool: in front of the camera and inside the image. All of these are 0, without
        gradient, where a point or its pixel is not finite (or beyond 1e15).

    Raises:
        ValueError: a shape, dtype or device does not fit; the line names the argument.
    """
    return _sample(maps, "points", points, viewmats, Ks, width, height, near_plane, moving=False)


def sample_trajectories(
    maps: Tensor | Sequence[Tensor],
    trajectories: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int | None = None,
    height: int | None = None,
    near_plane: float = 0.01,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What every frame of a video shows at a point that moves: each position is looked up in the frame of its time.

    The flow features of Semantic Flow (Tian et al. 2024). Everything as in :func:`sample_views`, with times T in place
    of views V, except ``trajectories`` [P, T, 3].
    """
    return _sample(maps, "trajectories", trajectories, viewmats, Ks, width, height, near_plane, moving=True)


def _sample(maps, name: str, points: Tensor, viewmats: Tensor, Ks: Tensor, width, height, near_plane, moving: bool):
    levels = [maps] if isinstance(maps, Tensor) else list(maps)
    if not levels:
        raise ValueError("maps: expected at least one level, got none")
    expect("viewmats", viewmats, (None, 4, 4))
    views = len(viewmats)
    expect("Ks", Ks, (views, 3, 3))
    expect(name, points, (None, views, 3) if moving else (None, 3))
    for i, level in enumerate(levels):
        which = "maps" if isinstance(maps, Tensor) else f"maps[{i}]"
        expect(which, level, (views, None, None, None))
        if 0 in level.shape[1:]:
            raise ValueError(f"{which}: expected at least one channel, row and column, got {list(level.shape)}")
        if level.dtype not in STORED or level.dtype != levels[0].dtype:
            raise ValueError(f"{which}: expected float16, float32 or float64, the same for all, got {level.dtype}")
    for which, value in (("viewmats", viewmats), ("Ks", Ks), *(("maps", level) for level in levels)):
        if value.device != points.device:
            raise ValueError(f"{which}: expected on {points.device}, where the {name} are, got {value.device}")
    if (width is None) != (height is None):
        raise ValueError(f"width, height: expected both or neither, got {width} and {height}")
    if width is None:
        height, width = levels[0].shape[2:]
    if width < 1 or height < 1:
        raise ValueError(f"width, height: expected positive, got {width} and {height}")
    if not near_plane > 0:
        raise ValueError(f"near_plane: expected positive, got {near_plane}")

    dtype = torch.float64 if points.dtype == torch.float64 else torch.float32
    points, viewmats, Ks = (x.to(dtype).contiguous() for x in (points, viewmats, Ks))
    levels = [level if level.dtype == torch.float16 else level.to(dtype) for level in levels]
    levels = [level.permute(0, 2, 3, 1).contiguous() for level in levels]
    return Sample.apply(points, viewmats, Ks, Settings(width, height, near_plane, moving), *levels)
