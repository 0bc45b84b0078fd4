"""Which places the labelled pixels of a video show: of others, nothing that stands still has learned a class."""

from __future__ import annotations

import torch
from torch import Tensor

from .clip import Clip
from .targets import Targets

CELLS = 96  # along each axis of the contracted space
MARGIN = 1.05  # times the depth of a pixel, up to which it shows


@torch.no_grad()
def shown_places(clip: Clip, found: Targets) -> Tensor:
    """Cells [G, G, G] bool, by x, y, z of :meth:`.Clip.inner`, that labelled pixels of ``found`` show: in front of what
    they see, or just behind; all of them, as one cell, where depth is unknown or ``found`` has no labels."""
    if found.depth is None or found.labels is None:
        return torch.ones(1, 1, 1, dtype=torch.bool, device=clip.center.device)
    centers = (torch.arange(CELLS, device=clip.center.device) + 0.5) / CELLS * 2 - 1
    places = clip.outer(torch.cartesian_prod(centers, centers, centers))
    seen = torch.zeros(len(places), dtype=torch.bool, device=places.device)
    for frame, depth, labels in zip(found.frames, found.depth.to(places), found.labels, strict=True):
        if not bool((labels >= 0).any()):
            continue
        hidden = (~seen).nonzero()[:, 0]
        pixels, z = clip.camera(frame).project(places[hidden])
        x, y = pixels.floor().long().unbind(-1)
        inside = (z > 0) & (x >= 0) & (y >= 0) & (x < clip.width) & (y < clip.height)
        x, y, z, hidden = x[inside], y[inside], z[inside], hidden[inside]
        ahead = depth[y, x]
        seen[hidden] = (labels[y, x] >= 0) & ((ahead <= 0) | (z <= MARGIN * ahead))
    return seen.view(CELLS, CELLS, CELLS)
