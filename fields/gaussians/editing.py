"""Edits of selected Gaussians: in their pose, so that what is carried along by a motion is changed as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...scenes import BadInput, Camera
from ..edit import LUMA, Copy, Edit, repainted
from ..rendering import Rendering
from .color import SH_C0
from .infill import infilled
from .state import GaussianState


@dataclass(frozen=True)
class EditedState(GaussianState):
    """Gaussians of which some are gone: where nothing is behind them, their surroundings are seen, in colours alone.

    ``whole``: as they were; None: nothing is gone.
    """

    whole: GaussianState | None = None

    def subset(self, keep: Tensor) -> GaussianState:
        """As of every state; of a part nothing is missing."""
        return replace(super().subset(keep), whole=None)

    def render(self, camera: Camera, channels=("color",), values: Tensor | None = None) -> Rendering:
        """As of every state."""
        made = super().render(camera, channels, values)
        if self.whole is not None and made.color is not None:
            before = self.whole.render(camera, ()).alpha
            made.color = infilled(made.color, made.alpha, before, self.background)
        return made


class Editing:
    """An :class:`..edit.Edit` of a field of Gaussians.

    The Gaussians stay as many as they are: a thing can be removed, recoloured, moved, scaled, frozen and retimed, but
    not be there twice.

    Args:
        field: of N Gaussians. things: which of them each thing that the edit speaks of is made of, [N] bool by name.
        hidden: which others go with a thing that is no longer where it was, [N] bool by name (:func:`.hidden.hidden`).

    Raises BadInput: anything else is asked for.
    """

    def __init__(self, field, edit: Edit, things: Mapping[str, Tensor], hidden: Mapping[str, Tensor] | None = None):
        self.field, self.edit = field, edit
        self.things, self.hidden = (
            {name: chosen.to(field.means.device) for name, chosen in parts.items()} for parts in (things, hidden or {})
        )
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
        for name in self.edit.removed:
            gone |= self.hidden.get(name, False)
        arrays["opacities"] = torch.where(gone, 0.0, arrays["opacities"])
        for name, color in self.edit.recoloured.items():
            arrays["sh"][self.things[name]] = _repainted(arrays["sh"][self.things[name]], color)
        return EditedState(**{**vars(state), **arrays}, whole=state if gone.any() else None)

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
