"""The public rasterizer: arguments, modes and results as gsplat 1.5 defines them."""

import torch
from torch import Tensor

from ..arguments import expect
from .constants import TILE
from .frame import PER_CAMERA, PER_GAUSSIAN, PER_SPLAT, Frame, Settings
from .functions import Composite
from .inputs import expect_harmonics, projected

RENDER_MODES = ("RGB", "D", "ED", "RGB+D", "RGB+ED")


def rasterization(
    means: Tensor,
    quats: Tensor | None,
    scales: Tensor | None,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    sh_degree: int | None = None,
    packed: bool = True,
    tile_size: int = 16,
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    rasterize_mode: str = "classic",
    channel_chunk: int = 32,
    distributed: bool = False,
    camera_model: str = "pinhole",
    segmented: bool = False,
    covars: Tensor | None = None,
    with_ut: bool = False,
    with_eval3d: bool = False,
    radial_coeffs: Tensor | None = None,
    tangential_coeffs: Tensor | None = None,
    thin_prism_coeffs: Tensor | None = None,
    ftheta_coeffs=None,
    rolling_shutter=None,
    viewmats_rs: Tensor | None = None,
    values: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict]:
    """Render N Gaussians into C cameras; differentiable in every tensor but ``Ks``.

    Args:
        means: centres in the world, [N, 3].
        quats: rotations wxyz, of any length but zero, [N, 4].
        scales: standard deviations along the axes in scene units, [N, 3].
        opacities: 0..1, [N].
        colors: [N, D] or [C, N, D], any D; or, with ``sh_degree``, harmonics coefficients [N, K, 3] or [C, N, K, 3].
        viewmats: world to camera, OpenCV axes, [C, 4, 4].
        Ks: intrinsics in pixels, [C, 3, 3]; the first pixel's centre is (0.5, 0.5).
        width, height: image size in pixels.
        near_plane, far_plane: Gaussians whose centre lies outside these depths are left out.
        radius_clip: Gaussians that reach no farther than this many pixels are left out.
        eps2d: added to the diagonal of the image covariance, pixels squared.
        sh_degree: degree of the spherical harmonics to use, 0..3; None where ``colors`` are colours.
        packed: list only visible Gaussians in ``meta`` (``camera_ids``, ``gaussian_ids``); the image is the same.
        backgrounds: [C, D], composited behind the colours.
        render_mode: RGB, D (accumulated depth), ED (expected depth), RGB+D, RGB+ED; depth is the last channel.
        absgrad: let backward also fill ``meta["means2d"].absgrad`` with sums of absolute gradients (Ye et al. 2024).
        rasterize_mode: classic, or antialiased (opacity compensated for eps2d, Yu et al. 2024).
        channel_chunk: without effect; all channels are rendered in one call.
        camera_model: pinhole or ortho.
        covars: covariances [N, 3, 3] in place of ``quats`` and ``scales``.
        values: beside colours from spherical harmonics, further channels [N, V] composited over 0. (Not in gsplat.)

    Returns:
        Images [C, H, W, D (+V for values) (+1 for depth)], alphas [C, H, W, 1], and ``meta`` with gsplat's keys: means2d (retains its
        gradient if asked to), radii (where the Gaussian falls under 1/255), depths, conics, opacities, width, height,
        n_cameras, tile_size, tile_width, tile_height, tiles_per_gauss, isect_offsets, gaussian_ids and camera_ids.

    Raises:
        NotImplementedError: naming the argument, for what gsplat has and this does not.
        ValueError: naming the argument, for shapes and values that make no sense.

    A Gaussian with a NaN or infinity anywhere is left out, as is one whose quaternion is zero; gradients there are 0.
    """
    _refuse(
        sparse_grad=sparse_grad, distributed=distributed, segmented=segmented, with_ut=with_ut, with_eval3d=with_eval3d,
        radial_coeffs=radial_coeffs, tangential_coeffs=tangential_coeffs, thin_prism_coeffs=thin_prism_coeffs,
        ftheta_coeffs=ftheta_coeffs, rolling_shutter=rolling_shutter, viewmats_rs=viewmats_rs,
    )  # fmt: skip
    if tile_size != TILE:
        raise NotImplementedError(f"tile_size: only {TILE}, got {tile_size}")
    if render_mode not in RENDER_MODES:
        raise ValueError(f"render_mode: one of {', '.join(RENDER_MODES)}, got {render_mode!r}")
    if colors.device != means.device:
        raise ValueError(f"colors: expected on {means.device}, where the means are, got {colors.device}")
    count, cameras = means.shape[0], viewmats.shape[0]
    sh = None
    if sh_degree is None:
        expect("colors", colors, (count, None), (cameras, count, None))
    else:
        expect_harmonics("colors", colors, sh_degree, (count, None, 3), (cameras, count, None, 3))
    if render_mode in ("D", "ED"):
        colors = None
    elif sh_degree is not None:
        colors, sh = None, colors
    if values is not None:
        if sh is None:
            raise ValueError("values: only beside spherical harmonics; colors take any number of channels themselves")
        expect("values", values, (count, None))
    if colors is None or "D" in render_mode:
        colors_of = PER_SPLAT
    else:
        colors_of = PER_GAUSSIAN if colors.ndim == 2 else PER_CAMERA
    settings = Settings.of(
        width, height, near_plane, far_plane, radius_clip, eps2d, rasterize_mode, camera_model, colors_of,
        degree=-1 if sh is None else sh_degree, packed=packed,
    )  # fmt: skip
    seen = colors if values is None else values
    splats, frame = projected(means, quats, scales, covars, opacities, viewmats, Ks, settings, sh, seen)
    means2d, depths, conics, splat_opacities, sh_colors = splats

    if sh is not None:
        colors = sh_colors
        if values is not None:
            colors = torch.cat([colors, _per_splat(values.to(colors.dtype), frame)], -1)
    elif colors is not None:
        colors = colors.to(means2d.dtype)
        if colors_of == PER_SPLAT:
            colors = _per_splat(colors, frame)
    if "D" in render_mode:
        colors = depths[:, None] if colors is None else torch.cat([colors, depths[:, None]], -1)
    if render_mode in ("D", "ED"):
        backgrounds = None
    if backgrounds is not None:
        behind = ("D" in render_mode) + (0 if values is None else values.shape[-1])
        backgrounds = torch.nn.functional.pad(backgrounds.to(colors.dtype), (0, behind))
        expect("backgrounds", backgrounds, (cameras, colors.shape[-1]))
    if not packed:
        # The graph runs through the tensors of meta, so that they can retain their gradients.
        means2d, depths, conics, splat_opacities = (
            x.view(cameras, count, *x.shape[1:]) for x in (means2d, depths, conics, splat_opacities)
        )
    if backgrounds is not None:
        backgrounds = backgrounds.contiguous()
    image, alphas = Composite.apply(means2d, conics, splat_opacities, colors.contiguous(), backgrounds, frame, absgrad)
    alphas = alphas[..., None]
    if render_mode in ("ED", "RGB+ED"):
        depth = image[..., -1:] / alphas.clamp(min=1e-10)
        image = depth if render_mode == "ED" else torch.cat([image[..., :-1], depth], -1)
    tiles_x, tiles_y = settings.tiles
    shape = () if packed else (cameras, count)
    camera_ids = gaussian_ids = None
    if packed:
        camera_ids, gaussian_ids = frame.ids.new_zeros(()).expand(len(frame.ids)), frame.ids
        if cameras > 1:
            camera_ids, gaussian_ids = frame.ids // max(count, 1), frame.ids % max(count, 1)
    meta = {
        "camera_ids": camera_ids,
        "gaussian_ids": gaussian_ids,
        "radii": frame.radii if packed else frame.radii.view(cameras, count, 2),
        "means2d": means2d,
        "depths": depths,
        "conics": conics,
        "opacities": splat_opacities,
        "tile_width": tiles_x,
        "tile_height": tiles_y,
        "tiles_per_gauss": frame.rank[:, 1].view(shape or (-1,)),
        "isect_offsets": frame.starts[:-1].view(cameras, tiles_y, tiles_x),
        "width": settings.width,
        "height": settings.height,
        "tile_size": TILE,
        "n_cameras": cameras,
    }
    return image, alphas, meta


def _per_splat(colors: Tensor, frame: Frame) -> Tensor:
    """Colours [N, D] or [C, N, D] of each splat, [S, D]."""
    if colors.ndim == 2 and frame.cameras > 1:
        colors = colors.expand(frame.cameras, *colors.shape)
    colors = colors.reshape(-1, colors.shape[-1])
    return colors if frame.ids is None or len(frame.ids) == len(colors) else colors[frame.ids]


def _refuse(**arguments) -> None:
    for name, value in arguments.items():
        if value is not None and value is not False:
            raise NotImplementedError(f"{name}: not supported")
