"""Depth of pixels next to those whose depth is known."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

REACH = 10.0  # pixels


def filled_depth(depth: Tensor, wanted: Tensor, labels: Tensor | None = None) -> Tensor:
    """``depth`` [T, H, W] with the zeros among the pixels ``wanted`` [T, H, W] bool given the depth of the nearest of
    these that has one, in the same frame, within ``REACH`` and of the same of the ``labels`` [T, H, W], if any."""
    import cv2

    filled = depth.clone()
    for t, (known, asked) in enumerate(zip(wanted & (depth > 0), wanted & (depth <= 0), strict=True)):
        if not known.any() or not asked.any():
            continue
        away, nearest = cv2.distanceTransformWithLabels(
            (~known).numpy().astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        nearest, places = torch.from_numpy(nearest).long(), known.flatten().nonzero()[:, 0]
        place = torch.zeros(int(nearest.max()) + 1, dtype=torch.long)
        place[nearest.flatten()[places]] = places
        source = place[nearest]
        chosen = asked & torch.from_numpy(away <= REACH)
        if labels is not None:
            chosen &= labels[t].flatten()[source] == labels[t]
        filled[t][chosen] = depth[t].flatten()[source][chosen]
    return filled
