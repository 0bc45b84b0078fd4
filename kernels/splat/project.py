"""From Gaussians and cameras to a frame: which kernels run on which memory."""

import importlib
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import bridge
from ..bridge import flat
from .frame import Frame, Settings
from .projection import projection


def renderer(like: Tensor):
    """The module that arranges and renders frames on the device of ``like``."""
    return importlib.import_module(".render_cuda" if like.is_cuda else ".render_cpu", __package__)


@dataclass
class Gaussians:
    """Inputs of a projection, detached and contiguous: see :func:`rasterization`; absent ones are None.

    ``usable`` [N] or [C * N] marks Gaussians whose colours are numbers; ``eyes`` [C, 3] are the camera centres,
    where there are harmonics.
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
    eyes: Tensor | None

    def arguments(self, adjoint: bool = False) -> list:
        """The kernels' leading arguments."""
        sh, sh_count, per_camera = self.sh, 0, 0
        if sh is not None:
            sh_count, per_camera = sh.shape[-2], int(sh.ndim == 4)
        usable = [] if adjoint else [flat(self.usable)]
        return [
            flat(self.means, 3), flat(self.quats, 4), flat(self.scales, 3), flat(self.covars), flat(self.opacities),
            *usable, flat(sh, 3), sh_count, per_camera, flat(self.viewmats, 16), flat(self.Ks, 9), flat(self.eyes, 3),
        ]  # fmt: skip


def variant(settings: Settings, gaussians: Gaussians) -> tuple:
    """What the projection's kernels are compiled for."""
    real = bridge.REAL[gaussians.means.dtype]
    return real, settings.degree, settings.ortho, settings.antialiased, gaussians.covars is not None


def project(gaussians: Gaussians, settings: Settings) -> Frame:
    """Project, cull, sort and list."""
    s = settings
    means = gaussians.means
    cameras, count = len(gaussians.viewmats), len(means)
    total = cameras * count
    means2d, conics = means.new_empty(total, 2), means.new_empty(total, 3)
    depths, opacities = means.new_empty(total), means.new_empty(total)
    radii = torch.empty(total, 2, dtype=torch.int32, device=means.device)
    boxes = torch.empty(total, 4, dtype=torch.int32, device=means.device)
    colors = means.new_empty(total, 3) if s.degree >= 0 else None
    bridge.launch(
        projection(*variant(s, gaussians)),
        total,
        [
            *gaussians.arguments(), s.width, s.height, s.near_plane, s.far_plane, s.radius_clip, s.eps2d,
            flat(means2d, 2), flat(depths), flat(conics, 3), flat(opacities), flat(radii, 2), flat(boxes, 4),
            flat(colors, 3),
        ],
        means,
    )  # fmt: skip
    frame = Frame(s, cameras, count, means2d, depths, conics, opacities, radii, colors)
    renderer(means).arrange(frame, boxes)
    return frame
