"""Density control: where the picture asks for more Gaussians they are cloned or split, useless ones are pruned
(3DGS, section 5.2; absolute gradients as in AbsGS, Ye et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..motion import NodeNetwork
from ..motion.rotations import to_matrix
from . import optimizer as adam
from .config import FitConfig
from .field import LEARNED, GaussianField


class DensityControl:
    """Keeps screen-space gradient statistics and changes the set of Gaussians.

    Args:
        field, optimizer: what is changed, together.
        config: thresholds and intervals.
        extent: scene extent in scene units.
        centers: where the training cameras stand, [C, 3].
    """

    def __init__(self, field: GaussianField, optimizer: torch.optim.Adam, config: FitConfig, extent: float,
                 centers: Tensor):
        self.field, self.optimizer, self.config, self.extent = field, optimizer, config, extent
        self.centers = centers.to(field.means)
        self.gradient = torch.zeros(field.count, device=field.means.device)
        self.views = torch.zeros_like(self.gradient)

    def observe(self, meta: dict) -> None:
        """Add the screen-space gradients of one rendering (after its backward)."""
        means2d = meta["means2d"]
        gradient = means2d.absgrad if self.config.absolute_gradient else means2d.grad
        gradient = gradient * gradient.new_tensor([meta["width"] / 2, meta["height"] / 2])
        seen = (meta["radii"] > 0).all(-1)
        norm = gradient.norm(dim=-1)
        if norm.dim() == 2:
            norm, seen = norm[0], seen[0]
        self.gradient += torch.where(seen, norm, torch.zeros_like(norm))
        self.views += seen

    def due(self, iteration: int) -> bool:
        """Whether :meth:`adapt` is to be called after ``iteration``."""
        c = self.config
        return c.densify_from <= iteration < c.densify_until and iteration % c.densify_every == 0

    @torch.no_grad()
    def adapt(self, iteration: int) -> None:
        """Clone, split, prune and limit sizes once."""
        self._grow()
        field, config = self.field, self.config
        keep = field.opacities > config.prune_opacity
        if iteration > config.prune_large_after:
            keep &= field.scales.amax(-1) < 0.1 * self.extent
        keep &= torch.isfinite(field.means).all(-1)
        if keep.any():
            self._keep(keep.nonzero()[:, 0])
        if config.largest_share:
            self._limit_sizes()
        if isinstance(field.motion, NodeNetwork):
            field.anchors = field.motion.settle(field.means)
        self.gradient = torch.zeros(field.count, device=field.means.device)
        self.views = torch.zeros_like(self.gradient)

    def _grow(self) -> None:
        field, config = self.field, self.config
        mean = self.gradient / self.views.clamp_min(1)
        wanted = mean > config.densify_gradient
        room = config.max_gaussians - field.count
        if room <= 0:
            return
        if wanted.sum() > room:
            wanted = torch.zeros_like(wanted).index_fill(0, mean.topk(room).indices, True) & wanted
        small = field.scales.amax(-1) <= config.dense_share * self.extent
        clones = (wanted & small).nonzero()[:, 0]
        splits = (wanted & ~small).nonzero()[:, 0]
        moved = field.means[splits] + self._inside(splits)
        moved_too = field.means[splits] + self._inside(splits)
        shrunk = field.log_scales[splits] - torch.log(torch.tensor(1.6))
        field.means.data[splits] = moved
        field.log_scales.data[splits] = shrunk
        rows = torch.cat([clones, splits])
        extra = {"means": torch.cat([field.means[clones], moved_too])}
        self._extend(rows, extra)

    def _inside(self, rows: Tensor) -> Tensor:
        """Random offsets drawn from the Gaussians ``rows`` themselves, [R, 3]."""
        local = torch.randn(len(rows), 3, device=self.field.means.device) * self.field.scales[rows]
        return (to_matrix(self.field.quats[rows]) @ local[..., None])[..., 0]

    def _extend(self, rows: Tensor, changed: dict[str, Tensor]) -> None:
        """Append copies of ``rows``, with ``changed`` values where given."""
        everyone = torch.arange(self.field.count, device=rows.device)
        for name in LEARNED:
            old = getattr(self.field, name)
            new = torch.nn.Parameter(torch.cat([old.data, changed.get(name, old.data[rows])]))
            adam.replace(self.optimizer, name, new, old, everyone, len(rows))
            setattr(self.field, name, new)
        self.field.anchors = torch.cat([self.field.anchors, self.field.anchors[rows]])

    def _keep(self, rows: Tensor) -> None:
        if len(rows) == self.field.count:
            return
        for name in LEARNED:
            old = getattr(self.field, name)
            new = torch.nn.Parameter(old.data[rows])
            adam.replace(self.optimizer, name, new, old, rows)
            setattr(self.field, name, new)
        self.field.anchors = self.field.anchors[rows]

    def _limit_sizes(self) -> None:
        """Shrink what would be fog before a camera: few photographs leave their background's depth open, and a huge
        Gaussian that paints the wall of one can hang in front of views between the others."""
        distance = torch.full_like(self.field.means[:, 0], torch.inf)
        for center in self.centers:  # one by one: all distances at once would be a matrix of gigabytes in large scenes
            distance = torch.minimum(distance, (self.field.means - center).norm(dim=-1))
        largest = (self.config.largest_share * distance).log()[:, None]
        self.field.log_scales.data.copy_(torch.minimum(self.field.log_scales, largest))

    @torch.no_grad()
    def reset_opacities(self) -> None:
        """Lower all opacities to at most 0.01, so that only what the pictures need comes back (3DGS)."""
        old = self.field.opacity_logits
        new = torch.nn.Parameter(old.data.clamp_max(torch.logit(torch.tensor(0.01)).item()))
        adam.replace(self.optimizer, "opacity_logits", new, old)
        self.field.opacity_logits = new
