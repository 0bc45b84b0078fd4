"""The edit in a run folder, and the field that it belongs to."""

from __future__ import annotations

from pathlib import Path

from ..fields.edit import Edit
from ..scenes import BadInput

FILE = "edit.json"


def edited(field, folder: Path):
    """``field`` of the run in ``folder``, edited as its edit file says, if there is one."""
    if (folder / FILE).exists():
        field.edit = editing(folder, field, Edit.read(folder / FILE, identity(field)))
    return field


def identity(field) -> dict:
    """What an edit file says of the field that it is for."""
    if field.kind == "flow":
        return {"classes": field.label_names, "clips": field.names}
    return {"gaussians": field.count}


def editing(folder: Path, field, wanted: Edit):
    """What applies an edit to the field of the run in ``folder``; BadInput as from its making."""
    if field.kind == "flow":
        from ..fields.flow.editing import Editing

        return Editing(field, wanted)
    from ..fields.gaussians.editing import Editing
    from .selection import Selection

    objects = sorted(path.stem for path in (folder / "objects").glob("*.safetensors"))
    things = {}
    for name in sorted(wanted.names):
        if name not in objects:
            raise BadInput(f"no such object {name!r}; there are: {', '.join(objects) or 'none yet'}")
        things[name] = Selection.load(folder / "objects" / f"{name}.safetensors", field.count).selected
    return Editing(field, wanted, things)
