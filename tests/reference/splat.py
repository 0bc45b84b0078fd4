"""Gaussian splatting in plain torch: every Gaussian against every pixel, any dtype, gradients by
autograd.

The oracle of ``kernels.splat``. Slow and short on purpose; sizes up to a few hundred Gaussians on a
few thousand pixels. It follows "3D Gaussian Splatting" (Kerbl et al. 2023), "EWA splatting"
(Zwicker et al. 2002) and, for the antialiased mode, "Mip-Splatting" (Yu et al. 2024), with the
constants of gsplat 1.5.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

ALPHA_MIN = 1.0 / 255.0  # fainter than this at a pixel: skipped
ALPHA_MAX = 0.999
TRANSMITTANCE_MIN = 1e-4  # a Gaussian that would leave no more than this ends the pixel, uncounted


def rotations(quats: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of quaternions [..., 4] (wxyz), which need not be of unit
    length."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def harmonics_basis(degree: int, directions: Tensor) -> Tensor:
    """Real spherical harmonics with the Condon-Shortley phase, [..., (degree + 1)^2], at any
    vectors [..., 3]."""
    x, y, z = torch.nn.functional.normalize(directions, dim=-1).unbind(-1)
    c = [math.sqrt(n / math.pi) for n in (1 / 4, 3 / 4, 15 / 4, 5 / 16, 15 / 16)]
    basis = [c[0] * torch.ones_like(x)]
    if degree > 0:
        basis += [-c[1] * y, c[1] * z, -c[1] * x]
    if degree > 1:
        basis += [
            c[2] * x * y,
            -c[2] * y * z,
            c[3] * (2 * z * z - x * x - y * y),
            -c[2] * x * z,
            c[4] * (x * x - y * y),
        ]
    if degree > 2:
        d = [math.sqrt(n / math.pi) for n in (35 / 32, 105 / 4, 21 / 32, 7 / 16, 105 / 16)]
        basis += [
            -d[0] * y * (3 * x * x - y * y),
            d[1] * x * y * z,
            -d[2] * y * (4 * z * z - x * x - y * y),
            d[3] * z * (2 * z * z - 3 * x * x - 3 * y * y),
            -d[2] * x * (4 * z * z - x * x - y * y),
            d[4] * z * (x * x - y * y),
            -d[0] * x * (x * x - 3 * y * y),
        ]
    return torch.stack(basis, -1)


class Projected(NamedTuple):
    """What a camera makes of each Gaussian."""

    means2d: Tensor  # [C, N, 2] pixels
    depths: Tensor  # [C, N] z in the camera
    conics: Tensor  # [C, N, 3] inverse 2D covariance: xx, xy, yy
    covars2d: Tensor  # [C, N, 2, 2] pixels^2, blur included
    compensations: Tensor  # [C, N] sqrt(det before the blur / det after it)
    valid: Tensor  # [C, N] between the near and the far plane


def project(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    eps2d: float = 0.3,
    camera_model: str = "pinhole",
) -> Projected:
    """EWA projection of N Gaussians into C cameras."""
    M = rotations(quats) * scales[:, None, :]
    R, t = viewmats[:, None, :3, :3], viewmats[:, None, :3, 3]
    local = (R @ means[None, :, :, None])[..., 0] + t  # [C, N, 3]
    covars = R @ (M @ M.mT)[None] @ R.mT  # [C, N, 3, 3]
    depths = local[..., 2]
    valid = (depths >= near_plane) & (depths <= far_plane)
    x, y, z = local[..., 0], local[..., 1], torch.where(valid, depths, torch.ones_like(depths))
    fx, fy, cx, cy = (Ks[:, None, i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    zero = torch.zeros_like(z)
    if camera_model == "ortho":
        means2d = torch.stack([fx * x + cx, fy * y + cy], -1)
        J = torch.stack([fx + zero, zero, zero, zero, fy + zero, zero], -1)
    else:
        means2d = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
        # The linearisation is taken no further out than 15 % of the image beyond its borders.
        u = clamp(x / z, -cx / fx - 0.15 * width / fx, (width - cx) / fx + 0.15 * width / fx)
        v = clamp(y / z, -cy / fy - 0.15 * height / fy, (height - cy) / fy + 0.15 * height / fy)
        J = torch.stack([fx / z, zero, -fx * u / z, zero, fy / z, -fy * v / z], -1)
    J = J.unflatten(-1, (2, 3))
    sharp = J @ covars @ J.mT
    blurred = sharp + eps2d * torch.eye(2, dtype=means.dtype, device=means.device)
    a, b, c = blurred[..., 0, 0], blurred[..., 0, 1], blurred[..., 1, 1]
    det = a * c - b * b
    det_sharp = sharp[..., 0, 0] * sharp[..., 1, 1] - sharp[..., 0, 1] ** 2
    positive = det_sharp > 0
    ratio = torch.where(positive, det_sharp, torch.ones_like(det)) / det
    return Projected(
        means2d,
        depths,
        torch.stack([c, -b, a], -1) / det[..., None],
        blurred,
        torch.where(positive, ratio, torch.zeros_like(det))
        .clamp_min(torch.finfo(det.dtype).tiny)
        .sqrt(),
        valid,
    )


def clamp(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """``x`` held between bounds of a broadcastable shape."""
    return torch.minimum(torch.maximum(x, low.expand_as(x)), high.expand_as(x))


class Blend(NamedTuple):
    """How the Gaussians of one camera share its P pixels."""

    weights: Tensor  # [N, P] transmittance times alpha, in the order of the input
    transmittance: Tensor  # [P] what is left for the background
    uncertain: (
        Tensor  # [P] a decision lies so close to its threshold that float32 may take it differently
    )
    deltas: Tensor  # [N, P, 2] centre minus pixel; its gradient gives absgrad


def blend(
    view: Projected, camera: int, opacities: Tensor, width: int, height: int, live: Tensor
) -> Blend:
    """Front-to-back compositing of one camera: who contributes how much to each pixel
    (row-major)."""
    y, x = torch.meshgrid(
        torch.arange(height, device=opacities.device) + 0.5,
        torch.arange(width, device=opacities.device) + 0.5,
        indexing="ij",
    )
    pixels = torch.stack([x.flatten(), y.flatten()], -1).to(opacities)
    deltas = view.means2d[camera][:, None, :] - pixels  # [N, P, 2]
    if deltas.requires_grad:
        deltas.retain_grad()
    dx, dy = deltas.unbind(-1)
    A, B, C = (v[:, None] for v in view.conics[camera].unbind(-1))
    raw = opacities[:, None] * torch.exp(-0.5 * (A * dx * dx + C * dy * dy) - B * dx * dy)
    alpha = torch.where(
        live[:, None] & (raw >= ALPHA_MIN), raw.clamp_max(ALPHA_MAX), torch.zeros_like(raw)
    )

    order = torch.sort(view.depths[camera], stable=True).indices
    after = torch.cumprod(1 - alpha[order], 0)  # transmittance behind each Gaussian
    counted = after > TRANSMITTANCE_MIN
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    weights = torch.where(counted, alpha[order] * before, torch.zeros_like(after))[
        torch.argsort(order)
    ]
    transmittance = torch.where(counted, 1 - alpha[order], torch.ones_like(after)).prod(0)

    reached = (before > 0.5 * TRANSMITTANCE_MIN) & live[order][:, None]
    near_cut = ((raw[order] / ALPHA_MIN - 1).abs() < 1e-3) | (
        (raw[order] / ALPHA_MAX - 1).abs() < 1e-5
    )
    near_end = (after / TRANSMITTANCE_MIN - 1).abs() < 1e-2
    uncertain = (
        (reached & (near_cut | near_end)).any(0)
        if len(order)
        else torch.zeros_like(transmittance).bool()
    )
    return Blend(weights, transmittance, uncertain, deltas)


def visible_opacities(view: Projected, opacities: Tensor, rasterize_mode: str, radius_clip: float):
    """Opacity of each Gaussian in each camera [C, N], and whether it is drawn at all [C, N]."""
    opacities = opacities.expand(view.depths.shape)
    if rasterize_mode == "antialiased":
        opacities = opacities * view.compensations
    # A Gaussian ends where its alpha falls below the cut-off; its radius is the half extent there,
    # in whole pixels.
    reach = (2 * torch.log((opacities / ALPHA_MIN).clamp_min(1.0))).sqrt()[..., None]
    extent = torch.ceil(reach * view.covars2d.diagonal(dim1=-2, dim2=-1).sqrt())
    return opacities, view.valid & ~(extent <= radius_clip).all(-1) & (opacities >= ALPHA_MIN)


def view_colors(means: Tensor, colors: Tensor, viewmats: Tensor, sh_degree: int | None) -> Tensor:
    """Colours of each Gaussian in each camera: [C, N, D]."""
    if sh_degree is None:
        return colors if colors.dim() == 3 else colors.expand(len(viewmats), *colors.shape)
    directions = means - torch.linalg.inv(viewmats)[:, None, :3, 3]
    basis = harmonics_basis(sh_degree, directions)
    return ((basis[..., None] * colors[..., : basis.shape[-1], :]).sum(-2) + 0.5).clamp_min(0.0)


def rasterization(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
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
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB",
    rasterize_mode: str = "classic",
    camera_model: str = "pinhole",
) -> tuple[Tensor, Tensor, dict]:
    """Images [C, H, W, D], alphas [C, H, W, 1] and what is behind them; arguments as
    ``kernels.splat.rasterization``.

    The last value holds ``view`` (:class:`Projected`), ``blends`` (one :class:`Blend` per camera)
    and ``certain`` [C, H, W, 1], the pixels that another precision must agree on.
    """
    view = project(
        means,
        quats,
        scales,
        viewmats,
        Ks,
        width,
        height,
        near_plane,
        far_plane,
        eps2d,
        camera_model,
    )
    opacities, live = visible_opacities(view, opacities, rasterize_mode, radius_clip)
    depths = view.depths[..., None]
    if render_mode in ("D", "ED"):
        values, backgrounds = depths, None
    else:
        values = view_colors(means, colors, viewmats, sh_degree)
        if render_mode in ("RGB+D", "RGB+ED"):
            values = torch.cat([values, depths], -1)
            if backgrounds is not None:
                backgrounds = torch.cat([backgrounds, torch.zeros_like(backgrounds[:, :1])], -1)
    images, alphas, blends = [], [], []
    for camera in range(len(viewmats)):
        shares = blend(view, camera, opacities[camera], width, height, live[camera])
        image = shares.weights.T @ torch.where(
            live[camera][:, None], values[camera], torch.zeros_like(values[camera])
        )
        alpha = 1 - shares.transmittance[:, None]
        if backgrounds is not None:
            image = image + shares.transmittance[:, None] * backgrounds[camera]
        if render_mode in ("ED", "RGB+ED"):
            image = torch.cat([image[:, :-1], image[:, -1:] / alpha.clamp_min(1e-10)], -1)
        images.append(image.unflatten(0, (height, width)))
        alphas.append(alpha.unflatten(0, (height, width)))
        blends.append(shares)
    certain = torch.stack([~b.uncertain.unflatten(0, (height, width)) for b in blends])[..., None]
    return (
        torch.stack(images),
        torch.stack(alphas),
        {"view": view, "blends": blends, "certain": certain},
    )


def uplift(
    means, quats, scales, opacities, maps: Tensor, viewmats: Tensor, Ks: Tensor
) -> tuple[Tensor, Tensor]:
    """Sums over pixels of weight times map [N, D], and of weight [N]."""
    _, height, width, channels = maps.shape
    colors = torch.zeros(len(means), channels, dtype=means.dtype, device=means.device)
    blends = rasterization(means, quats, scales, opacities, colors, viewmats, Ks, width, height)[2][
        "blends"
    ]
    sums = sum(b.weights @ m.flatten(0, 1) for b, m in zip(blends, maps, strict=True))
    return sums, sum(b.weights.sum(1) for b in blends)


def contributors(
    means, quats, scales, opacities, viewmats: Tensor, Ks: Tensor, width: int, height: int, k: int
):
    """The k largest weights of each pixel [C, H, W, k] and whose they are, -1 where there are
    fewer."""
    blank = torch.zeros_like(means)
    blends = rasterization(means, quats, scales, opacities, blank, viewmats, Ks, width, height)[2][
        "blends"
    ]
    weights = torch.stack([b.weights.T for b in blends])  # [C, P, N]
    padded = torch.nn.functional.pad(weights, (0, max(0, k - len(means))))
    values, ids = torch.topk(padded, k, dim=-1)
    ids = torch.where(values > 0, ids, -torch.ones_like(ids))
    shape = (len(viewmats), height, width, k)
    return ids.reshape(shape), values.reshape(shape)
