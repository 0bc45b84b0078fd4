"""Gaussians as one camera sees them: projected, sorted and listed once for all that is drawn of them."""

from functools import partial

import torch
from torch import Tensor

from ..arguments import expect
from .cell_weights import entries
from .contributors import strongest
from .frame import PER_GAUSSIAN, Settings
from .functions import Composite
from .inputs import expect_harmonics, projected
from .project import renderer
from .uplift import averages


class View:
    """N Gaussians before one camera, from :func:`view`.

    Its methods give the same bits as the functions that take the Gaussians and cameras themselves, without projecting,
    sorting and listing anew: worth it where one state is drawn in several sets of channels one after another. Sets that
    are known together cost less as channels of one picture.

    Attributes:
        means2d [N, 2], depths [N], conics [N, 3], opacities [N]: 0 for Gaussians that the camera does not see.
        colors [N, 3]: of the spherical harmonics in the camera's direction, to be rendered; None without harmonics.

    These and :meth:`render` are differentiable in what the view was made of, all in one graph: add up the losses of all
    pictures before one ``backward``. A view made without gradients has none. The Gaussians must not be changed in place
    while their view is in use.
    """

    def __init__(self, project):
        self._project = project
        (self.means2d, self.depths, self.conics, self.opacities, self.colors), self.frame = project()

    def __len__(self) -> int:
        return len(self.depths)

    def render(self, colors: Tensor, background: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Image [H, W, D] of ``colors`` [N, D], any D, over ``background`` [D], and alpha [H, W].

        A Gaussian whose colour is no number is left out: that takes a projection of its own.
        """
        expect("colors", colors, (len(self), None))
        if background is not None:
            expect("background", background, colors.shape[-1:])
        for name, value in (("colors", colors), ("background", background)):
            if value is not None and value.device != self.depths.device:
                raise ValueError(f"{name}: expected on {self.depths.device}, where the view is, got {value.device}")
        colors = colors.to(self.depths.dtype).contiguous()
        seen = self
        if not renderer(colors).usable(colors.detach()).all():
            seen = View(partial(self._project, colors=colors))
        backgrounds = None if background is None else background.to(colors.dtype)[None].contiguous()
        image, alphas = Composite.apply(
            seen.means2d, seen.conics, seen.opacities, colors, backgrounds, seen.frame, False
        )
        return image[0], alphas[0]

    @torch.no_grad()
    def uplift(self, maps: Tensor, normalize: bool = True) -> tuple[Tensor, Tensor]:
        """Features [N, D] from ``maps`` [H, W, D] and weights [N], as from :func:`.uplift`."""
        settings = self.frame.settings
        expect("maps", maps, (settings.height, settings.width, None))
        features = self.depths.new_zeros(len(self), maps.shape[-1])
        weights = self.depths.new_zeros(len(self))
        renderer(self.depths).lift(self.frame, maps[None].to(self.depths.dtype).contiguous(), features, weights)
        return averages(features, weights) if normalize else features, weights

    @torch.no_grad()
    def contributors(self, k: int = 1) -> tuple[Tensor, Tensor]:
        """The ``k`` strongest Gaussians of each pixel and their weights, [H, W, k], as from :func:`.contributors`."""
        ids, weights = strongest(self.frame, k)
        return ids[0], weights[0]

    @torch.no_grad()
    def cell_weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Cells, Gaussians and weights [E], as from :func:`.cell_weights`."""
        return entries(self.frame)


def view(
    means: Tensor,
    quats: Tensor | None,
    scales: Tensor | None,
    opacities: Tensor,
    viewmat: Tensor,
    K: Tensor,
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    sh: Tensor | None = None,
    sh_degree: int | None = None,
    rasterize_mode: str = "classic",
    camera_model: str = "pinhole",
    covars: Tensor | None = None,
) -> View:
    """The Gaussians as one camera sees them, to be drawn in any sets of channels.

    Args:
        viewmat: world to camera, OpenCV axes, [4, 4].
        K: intrinsics in pixels, [3, 3].
        sh, sh_degree: coefficients of spherical harmonics [N, K, 3] and the degree to use, for :attr:`View.colors`.
        Others as in :func:`rasterization`.
    """
    expect("viewmat", viewmat, (4, 4))
    expect("K", K, (3, 3))
    if (sh is None) != (sh_degree is None):
        raise ValueError("sh, sh_degree: expected both or neither")
    if sh is not None:
        expect_harmonics("sh", sh, sh_degree, (len(means), None, 3))
    settings = Settings.of(
        width, height, near_plane, far_plane, radius_clip, eps2d, rasterize_mode, camera_model, PER_GAUSSIAN,
        degree=-1 if sh is None else sh_degree,
    )  # fmt: skip
    return View(partial(projected, means, quats, scales, covars, opacities, viewmat[None], K[None], settings, sh))
