"""Quaternions (wxyz) and rotation vectors."""

from __future__ import annotations

import torch
from torch import Tensor


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product a b of quaternions [..., 4]: first b, then a."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def conjugate(q: Tensor) -> Tensor:
    """The inverse rotation of unit quaternions [..., 4]."""
    return q * q.new_tensor([1.0, -1.0, -1.0, -1.0])


def to_matrix(q: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of quaternions [..., 4], which need not be normalised."""
    w, x, y, z = torch.nn.functional.normalize(q, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).reshape(*q.shape[:-1], 3, 3)


def from_matrix(R: Tensor) -> Tensor:
    """Unit quaternions [..., 4] with w >= 0 of rotation matrices [..., 3, 3].

    Takes the best conditioned of the four ways to read a quaternion off a matrix, as in Shepperd (1978).
    """
    m = R.unbind(-2)
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in m)
    ways = torch.stack(
        [
            torch.stack([1 + a + e + i, h - f, c - g, d - b], -1),
            torch.stack([h - f, 1 + a - e - i, b + d, c + g], -1),
            torch.stack([c - g, b + d, 1 - a + e - i, f + h], -1),
            torch.stack([d - b, c + g, f + h, 1 - a - e + i], -1),
        ],
        -2,
    )
    best = torch.diagonal(ways, dim1=-2, dim2=-1).argmax(-1)
    q = torch.gather(ways, -2, best[..., None, None].expand(*best.shape, 1, 4))[..., 0, :]
    q = torch.nn.functional.normalize(q, dim=-1)
    return torch.where(q[..., :1] < 0, -q, q)


def from_rotation_vector(v: Tensor) -> Tensor:
    """Unit quaternions [..., 4] of rotation vectors [..., 3] (axis times angle in radians), smooth at zero."""
    half = 0.5 * (v.square().sum(-1, keepdim=True) + 1e-24).sqrt()
    return torch.cat([half.cos(), 0.5 * v * half.sin() / half], -1)


def align(points_a: Tensor, points_b: Tensor, weights: Tensor) -> Tensor:
    """Rotations [..., 3, 3] that best turn centred ``points_a`` [..., K, 3] onto ``points_b`` (Kabsch),
    with ``weights`` [..., K]."""
    covariance = torch.einsum("...k,...ki,...kj->...ij", weights, points_b, points_a)
    U, _, Vt = torch.linalg.svd(covariance)
    flip = torch.ones_like(U[..., 0])
    flip[..., 2] = torch.sign(torch.linalg.det(U @ Vt))
    return (U * flip[..., None, :]) @ Vt
