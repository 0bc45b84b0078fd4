"""An object's Gaussians anew, once its masks are known in many frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..fields import metrics
from ..scenes import Frame
from .masks import object_mask
from .queries import SEEN, mask_share
from .selection import Selection


@torch.no_grad()
def reselected(
    field, frames: Sequence[Frame], selection: Selection, rough: Sequence[Tensor], masks: Sequence[Tensor]
) -> Selection:
    """``selection``, or what the ``masks`` of all ``frames`` show of ``field`` if that is closer to them.

    A Gaussian belongs to the object if, over all frames, the share of its accumulated weight that lies inside the masks
    (DGD's pixel selection) is at least half of the largest share there is. What no frame shows stays as it was.

    Args:
        rough: the soft masks [H, W] that the field draws of ``selection`` in ``frames``.
        masks: [H, W] bool, what is known to be right.
    """
    views = [(frame.camera, frame.time, mask) for frame, mask in zip(frames, masks, strict=True) if mask.any()]
    if not views:
        return selection
    share, weight = mask_share(field, views)
    seen = weight > SEEN
    if not (seen & (share > 0)).any():
        return selection
    hidden = torch.where(selection.selected.to(share.device), 0.0, -1.0)
    margin = torch.where(seen, share - share[seen].amax() / 2, hidden)
    how = f"{selection.how}, followed through {len(views)} frames"
    other = replace(
        Selection.of(selection.name, margin, 0.0, selection.query, how),
        frame=selection.frame, pixels=selection.pixels,
    )
    drawn = [object_mask(field.at(frame.time), other.selected, frame.camera) for frame in frames]
    return other if agreement(drawn, masks) > agreement(rough, masks) else selection


def agreement(drawn: Sequence[Tensor], masks: Sequence[Tensor]) -> float:
    """Mean intersection over union of soft masks with ``masks``, over the frames where these show something."""
    found = [metrics.jaccard(soft > 0.5, mask) for soft, mask in zip(drawn, masks, strict=True) if mask.any()]
    return sum(found) / len(found)
