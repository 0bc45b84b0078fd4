"""The edit in a run folder, and the field that it belongs to."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..fields.edit import Edit
from ..scenes import BadInput, Scene
from ..scenes.files import read_tensors, write_tensors
from ..scenes.scene import spread

FILE = "edit.json"
HIDDEN = "hidden.safetensors"  # Gaussians that go with a removed thing
VIEWS = 16  # that are asked which these are


def edited(field, folder: Path):
    """``field`` of the run in ``folder``, edited as its edit file says, if there is one."""
    if (folder / FILE).exists():
        field.edit = editing(folder, field, Edit.read(folder / FILE, identity(field)))
    return field


def save(after, folder: Path) -> None:
    """Write what applies an edit (:func:`editing`) into ``folder``, for :func:`edited`."""
    after.edit.write(folder / FILE, identity(after.field))
    if after.field.kind == "gaussians" and after.hidden:
        write_tensors(folder / HIDDEN, after.hidden)


def identity(field) -> dict:
    """What an edit file says of the field that it is for."""
    if field.kind == "flow":
        return {"classes": field.label_names, "clips": field.names}
    return {"gaussians": field.count}


def editing(folder: Path, field, wanted: Edit, scene: Scene | None = None):
    """What applies an edit to the field of the run in ``folder``; BadInput as from its making.

    ``scene``: that was fitted; which Gaussians go with a thing that is removed anew is asked of its cameras.
    """
    if field.kind == "flow":
        from ..fields.flow.editing import Editing

        return Editing(field, wanted)
    from ..fields.gaussians.editing import Editing
    from .selection import named

    things = {name: named(folder, field, name).selected for name in sorted(wanted.names)}
    found = read_tensors(folder / HIDDEN)[0] if (folder / HIDDEN).exists() else {}
    for name, gone in found.items():
        if gone.shape != (field.count,) or gone.dtype != torch.bool:
            raise BadInput(f"{folder / HIDDEN}: {name}: expected {field.count} truth values")
    if scene is not None:
        found |= {name: _hidden(field, things[name], scene) for name in wanted.removed if name not in found}
    return Editing(field, wanted, things, found)


def _hidden(field, thing: Tensor, scene: Scene) -> Tensor:
    from ..fields.gaussians.hidden import hidden

    frames = scene.split("train")
    views = [(frames[k].camera, frames[k].time) for k in spread(len(frames), VIEWS)]
    return hidden(field, thing.to(field.means.device), views)
