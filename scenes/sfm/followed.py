"""Points of the still world followed through a video by dense optical flow, as features of structure from motion."""

from __future__ import annotations

import numpy as np

from ..motion.evidence import dilated
from ..motion.flow import Flows
from ..motion.follow import Tracks2D, follow
from .agreement import steepness

MARGIN = 2  # pixels around what moves that are left out
SPACING = 10.0  # pixels between points
TEXTURE = 5.0  # grey levels of 255 per pixel by which something within NEAR pixels must change
NEAR = 2


def followed_points(flows: Flows, moving: np.ndarray) -> Tracks2D:
    """Tracks of textured points all over the picture except where ``moving`` [T, H, W].

    Unlike features that are detected and described in each picture, they lie on what is near, plain or repetitive as
    well, which is where parallax is.
    """
    rich = [dilated(steepness(gray) > TEXTURE, NEAR) for gray in flows.gray]
    still = [~dilated(mask, MARGIN) for mask in moving]
    return follow(flows, np.stack(rich) & np.stack(still), SPACING, least=3)
