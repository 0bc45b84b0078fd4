"""Follow a class through a field that has no parts to select: by pixels, rendered depth and trajectories."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..scenes import BadInput
from .boxes import follow
from .followed import Followed, file_name, visibility, write
from .pictures import contour
from .progress import bar
from .surface import surface

BEHIND = 0.1  # of the object's extent: how far behind the rendered surface a point may lie and still be seen


@torch.no_grad()
def track_class(run, name: str, points: int | None = 2000, output: str | Path | None = None,
                clip: str | None = None) -> Followed:
    """Follow the class ``name`` through the training frames of a run and write what is found, as for an object.

    A mask is where the class scores highest. The points are those of its surface in the first frame that shows it,
    carried by the field's trajectories; they are visible where the rendered depth does not hide them.

    Args:
        run: an open ``Run``.
        points: how many points to follow; None: one for each pixel.
        output: folder; None means ``tracks/NAME`` of the run, ``tracks/CLIP/NAME`` of a ``clip``.
        clip: name of one of the videos of a run of several; None: the first.
    """
    if points is not None and points < 1:
        raise BadInput(f"points: expected at least 1, got {points}")
    field, scene = run.clip(clip)
    number = class_number(field, name)
    output = run.folder / "tracks" / (clip or "") / file_name(name) if output is None else Path(output)
    frames = scene.split("train")
    masks, depths, start = [], [], None
    with bar() as progress:
        task = progress.add_task("track", total=len(frames), note=name)
        for frame in progress.track(frames, task_id=task):
            seen = field.render(frame.camera, frame.time, ("depth", "logits"))
            masks.append((seen.labels == number).cpu())
            depths.append(seen.depth.cpu())
            if start is None and masks[-1].any():
                start = frame, *surface_points(seen, masks[-1], points)
    if start is None:
        raise BadInput(f"{name}: the field shows this class in no training frame")
    first, places, pixels = start
    times = torch.tensor([frame.time for frame in frames])
    positions = field.trajectories(places, first.time, times).cpu()
    extent = (positions[:, 0].amax(0) - positions[:, 0].amin(0)).norm()
    visible = [
        visibility(positions[:, k], frame.camera, depth, BEHIND * extent)
        for k, (frame, depth) in enumerate(zip(frames, depths, strict=True))
    ]
    colors = first.image[pixels]
    boxes = follow(positions, torch.ones(len(positions)))
    followed = Followed(positions, torch.stack(visible, 1), colors, boxes, times)
    write(output, name, scene, masks, followed)
    return followed


def class_number(field, name: str) -> int:
    """The id of the class ``name``; BadInput lists the names there are."""
    if name not in field.label_names:
        raise BadInput(f"no such class {name!r}; there are: {', '.join(field.label_names) or 'none'}")
    return field.label_names.index(name)


def surface_points(seen, mask: Tensor, count: int | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Up to ``count`` points [P, 3] of the surface in a ``mask`` [H, W], spread evenly, and their rows and columns.

    The mask's outline is left out where there is more: rendered depth is a mean of what lies before and behind it.
    """
    points, shown = surface(seen)
    inner = mask & ~contour(mask)
    mask = (inner if (inner & shown.cpu()).any() else mask) & shown.cpu()
    chosen = mask[shown.cpu()].nonzero()[:, 0]
    if count is not None and len(chosen) > count:
        generator = torch.Generator().manual_seed(0)
        chosen = chosen[torch.randperm(len(chosen), generator=generator)[:count]].sort().values
    rows, columns = shown.cpu().nonzero()[chosen].unbind(1)
    return points[chosen.to(points.device)], (rows, columns)
