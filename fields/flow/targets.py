"""What a video tells a flow field: pictures, labels, motion masks, optical flow, depth, tracks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...scenes import Scene
from ...scenes.labels import label_map


@dataclass
class Targets:
    """Of the frames of one clip that may be learned from.

    Attributes:
        frames: [F] which frames of the clip these are.
        images [F, H, W, 3]; labels [F, H, W] int64, -1 where unlabelled, None without any; moving [F, H, W] bool.
        flows: forward and backward optical flow [F, H, W, 2], each with where it holds [F, H, W]; None without.
        disparity [F, H, W]: monocular, up to scale and shift; None where the scene has none.
        depth [F, H, W]: in scene units, 0 where unknown; None where nothing could be known.
        still [F, H, W]: of what stands still, also behind what moves.
        tracks [N, F, 3]: trajectories in scene units; None without.
    """

    frames: list[int]
    images: Tensor
    moving: Tensor
    labels: Tensor | None = None
    flows: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    disparity: Tensor | None = None
    depth: Tensor | None = None
    still: Tensor | None = None
    tracks: Tensor | None = None


@dataclass
class Batch:
    """R pixels of one frame: ``pixels`` [R, 2], and what :class:`Targets` knows of them."""

    index: int  # among the targets' frames
    frame: int  # of the clip
    time: float
    pixels: Tensor
    color: Tensor
    moving: Tensor
    label: Tensor | None
    flows: list[tuple[Tensor, Tensor]] | None
    disparity: Tensor | None
    depth: Tensor | None
    still: Tensor | None
    tracks: Tensor | None


def targets(scene: Scene, filmed: list[int] | None = None) -> Targets:
    """What ``scene``'s training video tells.

    Args:
        scene: what may be known, as :meth:`LabelSplit.seen` leaves it; frames without labels stay unlabelled.
        filmed: which of the clip's frames ``scene``'s training frames are; None: all.
    """
    from ...scenes.motion.depth import static_depth
    from ...scenes.motion.flow import consistency, video_flow
    from ...scenes.motion.jumps import jumping
    from ...scenes.motion.masks import motion_masks
    from ...scenes.motion.moving_points import moving_depth
    from ...scenes.motion.tracks import motion_scaffold

    shown = scene.split("train")
    moving = motion_masks(scene)
    filmed = list(range(len(shown))) if filmed is None else filmed
    found = Targets(filmed, torch.stack([frame.image for frame in shown]), moving)
    if any(frame.has("label") for frame in shown):
        nothing = torch.full(moving.shape[1:], -1)
        found.labels = torch.stack([label_map(f, len(scene.label_names)) if f.has("label") else nothing for f in shown])
    if len(shown) > 1 and not jumping(scene):
        forward, backward = video_flow(shown)
        found.flows = _flows(forward, backward, consistency)
        depth, still = moving_depth(scene, moving), static_depth(scene)
        found.still = still
        found.depth = torch.where(moving, depth, still)
        lifted = motion_scaffold(scene)
        found.tracks = None if lifted is None else lifted.positions
    if all(frame.has("disparity") for frame in shown):
        found.disparity = torch.stack([frame.disparity for frame in shown])
    return found


def _flows(forward: Tensor, backward: Tensor, consistency):
    """Both flows of each frame, zero and not valid at the ends of the video."""
    ahead = forward.new_zeros(len(forward) + 1, *forward.shape[1:])
    back = ahead.clone()
    ahead[:-1], back[1:] = forward, backward
    valid = [torch.zeros(ahead.shape[:3], dtype=torch.bool) for _ in range(2)]
    for k, (f, b) in enumerate(zip(forward, backward, strict=True)):
        valid[0][k], valid[1][k + 1] = consistency(f, b) > 0.5, consistency(b, f) > 0.5
    return (ahead, valid[0]), (back, valid[1])


def draw(found: Targets, times: Tensor, static: int, dynamic: int, generator: torch.Generator,
         index: int | None = None) -> Batch:
    """``static`` pixels at rest and ``dynamic`` ones that move, of one random frame (of ``index``, where given)."""
    if index is None:
        index = int(torch.randint(len(found.frames), (), generator=generator))
    moving = found.moving[index]
    width = moving.shape[1]
    chosen = []
    for wanted, pool in ((static, (~moving).flatten()), (dynamic, moving.flatten())):
        places = pool.nonzero()[:, 0]
        if wanted and len(places):
            chosen.append(places[torch.randint(len(places), (wanted,), generator=generator)])
    if not chosen:
        chosen = [torch.randint(moving.numel(), (max(static, dynamic),), generator=generator)]
    at = torch.cat(chosen)
    pixels = torch.stack([at % width + 0.5, at.div(width, rounding_mode="floor") + 0.5], -1)

    def of(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[index].flatten(0, 1)[at]

    flows = None
    if found.flows is not None:
        flows = [(of(flow), of(valid)) for flow, valid in found.flows]
    frame = found.frames[index]
    return Batch(
        index, frame, float(times[frame]), pixels.to(found.images), of(found.images), of(found.moving),
        of(found.labels), flows, of(found.disparity), of(found.depth), of(found.still), found.tracks,
    )
