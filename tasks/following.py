"""A thing's masks through time: what the field, the frame before and the teacher's maps say, weighed in each frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..fields import metrics
from ..scenes import BadInput
from ..scenes.motion.flow import Flows, pixel_grid, sample
from .appearance import Appearance
from .masks import parts_in
from .progress import bar
from .refine import refined
from .selection import Selection

UNSEEN = 0.5  # how much is believed that a thing is not to be seen
LEARNED = 0.1  # weight of a frame that was followed to as an example of the thing's looks; the first has 1


class Follower:
    """Sharpens a field's masks of an object, going out from the frame in which it is known best.

    That is the frame that was pointed at, where its pixels are known, else the one in which the field's mask agrees
    best with how the thing looks in all of them. From there it goes frame by frame to the end and to the beginning. In
    each frame three witnesses vote for and against every pixel: the field's mask; the neighbour's mask, carried there
    by optical flow; and the looks, learned from the frames before. What the first two say counts as far as what they
    show looks like the thing; what the field says, also no more than it was right where the thing is known. Of things
    that look alike, a field that can be believed says which is meant: what has the majority apart from all that the
    field shows is left out. The teacher outlines the rest.

    Args:
        run: an open ``Run``.

    BadInput when its teacher makes no masks.
    """

    def __init__(self, run):
        from ..scenes.teachers.cache import feature_maps

        self.teacher, self.frames = run.teacher(), run.scene.split("train")
        if not self.teacher.can_mask:
            raise BadInput(f"refine: teacher {self.teacher.name} makes no masks; fit with sam or mobilesam")
        self.maps = feature_maps(self.frames, self.teacher, run.folder / "features")
        sizes = {tuple(frame.image.shape) for frame in self.frames}
        self.flows = Flows.of(run.scene) if len(sizes) == 1 else None

    def __call__(self, selection: Selection, rough: Sequence[Tensor]) -> list[Tensor]:
        """Masks [H, W] bool of ``selection`` in the training frames, better than the field's soft ones ``rough``."""
        found = [mask > 0.5 for mask in rough]
        start, pixels = self.known(selection) or self.clearest(found)
        if not pixels.any():
            return found
        found[start] = pixels
        trust = metrics.jaccard(rough[start] > 0.5, pixels)
        known = Appearance()
        known.add(self.maps[start], pixels)
        with bar() as progress:
            task = progress.add_task("refine", total=len(found) - 1, note=selection.name)
            for step, end in ((1, len(found)), (-1, -1)):
                looks = known.copy()
                for index in range(start + step, end, step):
                    likely = self.likely(looks, index, rough[index], trust, found[index - step], index - step)
                    found[index], sure = refined(self.teacher, self.frames[index].image, likely)
                    if sure:
                        looks.add(self.maps[index], found[index], LEARNED)
                    progress.advance(task)
        return found

    def known(self, selection: Selection) -> tuple[int, Tensor] | None:
        """Training frame and pixels [H, W] that the selection was made by, or None."""
        names = [frame.name for frame in self.frames]
        if selection.pixels is None or selection.frame not in names:
            return None
        start = names.index(selection.frame)
        return (start, selection.pixels) if selection.pixels.shape == self.frames[start].image.shape[:2] else None

    def clearest(self, rough: Sequence[Tensor]) -> tuple[int, Tensor]:
        """The frame in which a ``rough`` mask [H, W] is most like the others, and what the teacher makes of it."""
        looks = Appearance()
        for features, mask in zip(self.maps, rough, strict=True):
            looks.add(features, mask)
        agreement = [
            metrics.jaccard(looks(features, mask.shape) > 0, mask) if mask.any() else 0.0
            for features, mask in zip(self.maps, rough, strict=True)
        ]
        best = max(range(len(rough)), key=agreement.__getitem__)
        return best, refined(self.teacher, self.frames[best].image, rough[best])[0]

    def likely(
        self, looks: Appearance, index: int, rough: Tensor, trust: float, mask: Tensor, neighbour: int
    ) -> Tensor:
        """Pixels [H, W] bool of frame ``index`` that the majority of the witnesses gives to the thing.

        ``rough`` [H, W] is what the field shows there, ``mask`` [H, W] the thing in frame ``neighbour``.
        """
        alike = looks(self.maps[index], rough.shape)
        carried, consistent = self.carried(mask, neighbour, index)
        believed = trust * support(rough, alike)
        votes = alike + believed * (2 * rough - 1) + support(carried, alike) * consistent * (2 * carried - 1)
        return parts_in(votes > 0, rough > 0.5) if believed > 0.5 else votes > 0

    def carried(self, mask: Tensor, start: int, end: int) -> tuple[Tensor, Tensor]:
        """A mask [H, W] of frame ``start`` as frame ``end`` sees it, 0 to 1, and where the flow is consistent.

        Nowhere in pictures of several sizes.
        """
        if self.flows is None:
            size = self.frames[end].image.shape[:2]
            return torch.zeros(size), torch.zeros(size, dtype=torch.bool)
        back = self.flows.between(end, start)
        moved = sample(mask.float().numpy(), pixel_grid(*self.flows.size) + back)
        return torch.from_numpy(moved), torch.from_numpy(self.flows.consistent(end, start))


def support(mask: Tensor, alike: Tensor) -> float:
    """Share of a soft ``mask`` [H, W] that looks like the thing, where ``alike`` [H, W] is positive."""
    shown = mask > 0.5
    return (alike[shown] > 0).float().mean().item() if shown.any() else UNSEEN
