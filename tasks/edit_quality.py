"""How like an edited field is to the same world filmed again, with the edit done in the world."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..fields import metrics
from ..scenes import BadInput, Scene
from .progress import bar

CHANGED = 0.02  # by which a channel differs where the edit is to be seen


@torch.no_grad()
def edit_quality(field, before: Scene, after: Scene, names: Sequence[str], split: str = "test") -> dict:
    """PSNR of an edited ``field`` against ``after``, the world of ``before`` filmed again by the same cameras.

    Args:
        names: classes of the things that were edited.

    Returns, of all pixels of all frames together:
        ``region``: where the two films differ, which takes in shadows; ``object``: where either film shows one of the
        things; ``rest``: where the films agree. Of each ``psnr`` and ``pixels``; beside them ``unedited``, the PSNR
        that the field has without the edit, and ``original``, its PSNR there without the edit against ``before``: how
        good the field is itself. Parts without pixels are left out.

    Raises BadInput: scenes of other cameras or without the classes.
    """
    pairs = list(zip(before.split(split), after.split(split), strict=False))
    if len(before.split(split)) != len(after.split(split)) or not pairs:
        raise BadInput(f"{after.name}: expected the {split} frames of {before.name}")
    unknown = [name for name in names if name not in before.label_names]
    if unknown:
        raise BadInput(f"object {unknown[0]!r}: expected one of {', '.join(before.label_names)}")
    ids = torch.tensor([before.label_names.index(name) for name in names])
    shown: dict[str, list] = {"edited": [], "plain": [], "before": [], "after": [], "object": []}
    edit = field.edit
    with bar() as progress:
        task = progress.add_task("edited", total=len(pairs), note="")
        for old, new in progress.track(pairs, task_id=task):
            if not torch.allclose(old.camera.viewmat, new.camera.viewmat, atol=1e-4):
                raise BadInput(f"{after.name}: {new.name}: expected the camera of {before.name}")
            for key, used in (("edited", edit), ("plain", None)):
                field.edit = used
                shown[key].append(field.render(old.camera, old.time).color.clamp(0, 1).cpu().flatten(0, 1))
            field.edit = edit
            shown["before"].append(old.image.flatten(0, 1))
            shown["after"].append(new.image.flatten(0, 1))
            shown["object"].append((torch.isin(old.label, ids) | torch.isin(new.label, ids)).flatten())
    whole = {key: torch.cat(parts) for key, parts in shown.items()}
    differs = (whole["before"] - whole["after"]).abs().amax(-1) > CHANGED
    parts = {"region": differs, "object": whole["object"], "rest": ~differs & ~whole["object"]}
    return {
        name: {
            "psnr": metrics.psnr(whole["edited"], whole["after"], where),
            "unedited": metrics.psnr(whole["plain"], whole["after"], where),
            "original": metrics.psnr(whole["plain"], whole["before"], where),
            "pixels": int(where.sum()),
        }
        for name, where in parts.items()
        if where.any()
    }
