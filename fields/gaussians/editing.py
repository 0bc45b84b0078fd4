"""Edits of selected Gaussians: in their pose, so that what is carried along by a motion is changed as a whole."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...scenes import BadInput
from ..edit import LUMA, Copy, Edit, repainted
from .color import SH_C0
from .state import GaussianState


class Editing:
    """An :class:`..edit.Edit` of a field of Gaussians.

    The Gaussians stay as many as they are: a thing can be removed, recoloured, moved, scaled, frozen and retimed, but
    not be there twice.

    Args:
        field: of N Gaussians. things: which of them each thing that the edit speaks of is made of, [N] bool by name.

    Raises BadInput: anything else is asked for.
    """

    def __init__(self, field, edit: Edit, things: dict[str, Tensor]):
        self.field, self.edit = field, edit
        self.things = {name: chosen.to(field.means.device) for name, chosen in things.items()}
        names = [name for copy in edit.copies for name in copy.names]
        wrong = [
            ("turned", any(copy.turn or copy.mirror for copy in edit.copies)),
            ("inserted from another video", bool(edit.clips)),
            ("repeated", len(set(names)) < len(names) or not {*names} <= {*edit.removed}),
        ]
        for what, asked in wrong:
            if asked:
                raise BadInput(f"Gaussians cannot be {what}; fit the scene with --method flow")

    @torch.no_grad()
    def __call__(self, time: float) -> GaussianState:
        """The Gaussians at ``time`` (0..1), edited."""
        state = self.field.posed(time)
        arrays = {name: getattr(state, name).clone() for name in ("means", "quats", "scales", "opacities", "sh")}
        gone = torch.zeros_like(arrays["opacities"], dtype=torch.bool)
        for name in self.edit.removed:
            gone |= self.things[name]
        for copy in self.edit.copies:
            for name in copy.names:
                chosen = self.things[name]
                moved = self._copied(copy, self.field.posed(copy.moment(time)).subset(chosen))
                for part in arrays:
                    arrays[part][chosen] = getattr(moved, part)
                gone &= ~chosen
        arrays["opacities"] = torch.where(gone, 0.0, arrays["opacities"])
        for name, color in self.edit.recoloured.items():
            arrays["sh"][self.things[name]] = _repainted(arrays["sh"][self.things[name]], color)
        return replace(state, **arrays)

    def _copied(self, copy: Copy, state: GaussianState) -> GaussianState:
        """A thing at its own time, where and how large it is shown."""
        weights = state.opacities[:, None]
        center = (weights * state.means).sum(0) / weights.sum().clamp_min(1e-9)
        placed = replace(copy, about=((0.0, *center.tolist()),))
        return replace(state, means=placed.forth(state.means, 0.0, self.edit.up), scales=state.scales * copy.scale)


def _repainted(sh: Tensor, color: tuple[float, float, float]) -> Tensor:
    """Harmonics [N, K, 3] of colours in another hue, as bright from everywhere as before."""
    mean = 0.5 + SH_C0 * sh[:, 0]
    luma = torch.tensor(LUMA).to(sh)
    rest = (sh[:, 1:] * luma).sum(-1, keepdim=True).expand(-1, -1, 3)
    return torch.cat([((repainted(mean.clamp(0, 1), color) - 0.5) / SH_C0)[:, None], rest], 1)
