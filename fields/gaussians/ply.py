"""The standard 3DGS PLY file: one vertex per Gaussian, as splat viewers read it (Kerbl 2023).

Properties, all little-endian float32, in this order: ``x y z``, ``nx ny nz`` (zero), ``f_dc_0..2``,
``f_rest_0..3(K-1)-1`` (all of red, then green, then blue), ``opacity`` (logit), ``scale_0..2``
(natural logarithm), ``rot_0..3`` (wxyz).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...scenes.files import BadInput, existing, replacing
from .state import GaussianState

if TYPE_CHECKING:
    from .field import GaussianField

REST = [3 * ((degree + 1) ** 2 - 1) for degree in range(4)]  # numbers of f_rest there can be
SMALLEST = 1e-12  # how far scales and opacities stay from where logarithm and logit are infinite


def names(rest: int) -> list[str]:
    """Property names in file order for ``rest`` = 3(K-1) higher SH coefficients."""
    return [
        *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"),
        *(f"f_rest_{i}" for i in range(rest)),
        *("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
    ]


def write_ply(path: str | Path, gaussians: GaussianState | GaussianField) -> None:
    """Write Gaussians to ``path``, atomically: posed ones, or those of a field in canonical pose.

    Their features are left out; the format has no place for them.
    """
    from plyfile import PlyData, PlyElement

    state = gaussians if isinstance(gaussians, GaussianState) else canonical(gaussians)
    count = len(state)
    columns = [
        state.means,
        torch.zeros_like(state.means),
        state.sh[:, 0],
        state.sh[:, 1:].transpose(1, 2).reshape(count, -1),
        torch.logit(state.opacities.double(), eps=SMALLEST)[:, None],
        state.scales.clamp_min(SMALLEST).log(),
        state.quats,
    ]
    table = torch.cat([column.detach().cpu().float() for column in columns], 1)
    layout = [(name, "<f4") for name in names(3 * (state.sh.shape[1] - 1))]
    vertices = np.ascontiguousarray(table.numpy(), "<f4").view(layout)[:, 0]
    with replacing(path) as temporary:
        PlyData([PlyElement.describe(vertices, "vertex")], byte_order="<").write(str(temporary))


def canonical(field: GaussianField) -> GaussianState:
    """The Gaussians of ``field`` as they are before any motion, without features."""
    sh = torch.cat([field.sh_dc, field.sh_rest], 1)
    return GaussianState(
        field.means, field.quats, field.scales, field.opacities, sh, None, 0.0, field.background
    )


def read_ply(path: str | Path, time: float = 0.0) -> GaussianState:
    """Gaussians of a standard 3DGS PLY file (binary of either byte order, or text).

    The state has a black background and no features. Raises BadInput: missing or damaged file,
    missing properties, SH of no degree 0..3, numbers that are not finite.
    """
    from plyfile import PlyData, PlyParseError

    path = existing(path)
    try:
        data = PlyData.read(str(path), mmap=False)
    except (PlyParseError, ValueError, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{path}: not a readable PLY file ({reason})") from error
    if "vertex" not in data:
        raise BadInput(f"{path}: vertex: expected one per Gaussian, the file has no vertices")
    vertices = data["vertex"]
    present = {prop.name for prop in vertices.properties}
    rest = sum(name.startswith("f_rest_") for name in present)
    if rest not in REST:
        expected = ", ".join(map(str, REST))
        raise BadInput(f"{path}: f_rest: expected one of {expected} coefficients, got {rest}")
    wanted = [name for name in names(rest) if name not in ("nx", "ny", "nz")]
    missing = [name for name in wanted if name not in present]
    if missing:
        raise BadInput(f"{path}: vertex: expected the properties {', '.join(missing)} too")
    try:
        table = np.stack([vertices[name].astype(np.float32) for name in wanted], 1)
    except (TypeError, ValueError) as error:  # a list property where a number is expected
        raise BadInput(f"{path}: vertex: expected one number per property ({error})") from error
    table = torch.from_numpy(table)
    bad = ~torch.isfinite(table).all(0)
    if bad.any():
        raise BadInput(f"{path}: {wanted[int(bad.nonzero()[0])]}: holds NaN or infinity")
    means, dc, higher, opacity, scales, quats = table.split([3, 3, rest, 1, 3, 4], 1)
    return GaussianState(
        means=means,
        quats=torch.nn.functional.normalize(quats, dim=-1),
        scales=scales.exp(),
        opacities=opacity[:, 0].sigmoid(),
        sh=torch.cat([dc[:, None], higher.reshape(len(means), 3, rest // 3).transpose(1, 2)], 1),
        features=None,
        time=float(time),
        background=torch.zeros(3),
    )
