"""What a video tells a flow field: pictures, labels, motion masks, optical flow, depth, tracks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...scenes import BadInput, Scene
from ...scenes.disparity import aligned
from ...scenes.labels import label_map, labelled
from ...scenes.pseudo_labels import with_pseudo_labels

LABELLED = 0.5  # of the draws are of labelled frames alone


@dataclass
class Targets:
    """Of the frames of one clip that may be learned from.

    Attributes:
        frames: [F] which frames of the clip these are.
        images [F, H, W, 3]; labels [F, H, W] int64, -1 where unlabelled, None without any.
        moving [F, H, W] bool: motion masks, and all that is labelled as a class that mostly moves. Masks miss what
        moves too little from one frame to the next, of which the static branch would learn a smear.
        flows: forward and backward optical flow [F, H, W, 2], each with where it holds [F, H, W]; None without.
        disparity [F, H, W]: monocular, up to scale and shift; None where the scene has none.
        depth [F, H, W]: in scene units, 0 where unknown; None where nothing could be known.
        still [F, H, W]: of what stands still, also behind what moves.
        tracks [N, F, 3]: trajectories in scene units; None without.
        sure [F, H, W] bool: where ``still`` is triangulated rather than completed; None: everywhere.
        labelled [L]: those of the F frames that were given labels, ascending.
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
    sure: Tensor | None = None
    labelled: Tensor = torch.zeros(0, dtype=torch.long)

    @cached_property
    def settled(self) -> Tensor:
        """Pixels [F, H, W] bool at rest whose depth is sure."""
        known = ~self.moving & (self.still > 0)
        return known if self.sure is None else known & self.sure

    @cached_property
    def resting(self) -> Tensor:
        """Flat indices of these among all frames' pixels."""
        return self.settled.flatten().nonzero()[:, 0]

    @cached_property
    def covered(self) -> Tensor:
        """The same of moving ones behind which the depth of what stands still is known."""
        return (self.moving & (self.still > 0)).flatten().nonzero()[:, 0]

    def known(self, index: int) -> list[Tensor]:
        """The same of one frame: of those at rest whose depth is sure, and of moving ones whose depth is known."""
        moving, before = self.moving[index], index * self.moving[index].numel()
        chosen = (self.settled[index], moving & (self.depth[index] > 0))
        return [before + pixels.flatten().nonzero()[:, 0] for pixels in chosen]


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


def targets(scene: Scene, filmed: list[int] | None = None, maps: Tensor | None = None, sure: float = 0.0) -> Targets:
    """What ``scene``'s training video tells.

    Args:
        scene: what may be known, as :meth:`LabelSplit.seen` leaves it.
        filmed: which of the clip's frames ``scene``'s training frames are; None: all.
        maps: [F, C, h, w] features of these. Frames without labels have the classes that these tell with a
            probability of at least ``sure``, and stay unlabelled elsewhere; 0: everywhere, as without maps.
    """
    from ...scenes.motion.depth import static_depth, trusted_pixels
    from ...scenes.motion.filled import filled_depth
    from ...scenes.motion.flow import flow_validity, video_flow
    from ...scenes.motion.jumps import jumping
    from ...scenes.motion.masks import motion_masks
    from ...scenes.motion.moving_points import moving_depth
    from ...scenes.motion.named import mostly_moving, with_moving
    from ...scenes.motion.tracks import motion_scaffold

    given = torch.tensor(list(labelled(scene)), dtype=torch.long)
    if maps is not None and sure:
        scene = with_pseudo_labels(scene, maps, sure)
    shown = scene.split("train")
    moving = motion_masks(with_moving(scene, mostly_moving(scene), others_rest=False))
    filmed = list(range(len(shown))) if filmed is None else filmed
    found = Targets(filmed, torch.stack([frame.image for frame in shown]), moving, labelled=given)
    if any(frame.has("label") for frame in shown):
        nothing = torch.full(moving.shape[1:], -1)
        count = len(scene.label_names)
        found.labels = torch.stack([label_map(f, count) if f.has("label") else nothing for f in shown])
    if all(frame.has("disparity") for frame in shown):
        found.disparity = torch.stack([frame.disparity for frame in shown])
    if len(shown) < 2 or jumping(scene):
        return found
    flows = video_flow(shown)
    found.flows = _of_frames(flows, flow_validity(shown, *flows), filmed)
    found.still, found.sure = static_depth(scene), trusted_pixels(scene)
    if found.disparity is None:
        near = filled_depth(moving_depth(scene, moving), moving, found.labels)
        found.depth = torch.where(moving, near, found.still)
    else:
        found.depth = torch.where(moving, _depth_of(found.disparity, found.still, ~moving), found.still)
    lifted = motion_scaffold(scene)
    found.tracks = None if lifted is None else lifted.positions
    return found


def _of_frames(flows: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor], filmed: list[int]):
    """Flow forward and backward of each frame [F, H, W, 2], and where it holds [F, H, W]: nowhere at the video's ends,
    nor across frames that are missing."""
    whole = torch.tensor(filmed).diff() == 1
    made = []
    for side, (flow, holds) in enumerate(zip(flows, valid, strict=True)):
        end = flow.new_zeros(1, *flow.shape[1:])
        parts = (flow, end) if side == 0 else (end, flow)
        holds = holds & whole[:, None, None]
        nowhere = torch.zeros_like(holds[:1])
        made.append((torch.cat(parts), torch.cat((holds, nowhere) if side == 0 else (nowhere, holds))))
    return tuple(made)


def _depth_of(disparity: Tensor, still: Tensor, rest: Tensor) -> Tensor:
    """Z-depth [F, H, W] of monocular disparity, by what is known of pixels at ``rest``; 0 where that does not tell."""
    try:
        inverse = aligned(disparity, still, rest)
    except BadInput:  # known depths that contradict it
        return torch.zeros_like(disparity)
    return torch.where(inverse > 0, 1 / inverse.clamp_min(1e-9), 0.0)


def draw(found: Targets, times: Tensor, static: int, dynamic: int, generator: torch.Generator,
         index: int | None = None) -> Batch:
    """``static`` pixels at rest and ``dynamic`` ones that move, of one random frame (of ``index``, where given).

    Where some frames have no labels, half of the draws are of those that have, however few these are.
    """
    if index is None:
        pool = torch.arange(len(found.frames))
        if 0 < len(found.labelled) < len(pool) and torch.rand((), generator=generator) < LABELLED:
            pool = found.labelled
        index = int(pool[torch.randint(len(pool), (), generator=generator)])
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
