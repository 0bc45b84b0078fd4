"""Which frames a field may learn from, and which it is tested on: one object for training and every evaluation."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch

from .files import BadInput
from .scene import Frame, PointCloud, Scene

TRUTHS = ("label", "instance", "part", "mask")  # layers that tell what a picture shows, as labels do


@dataclass(frozen=True)
class LabelSplit:
    """Positions among the training frames, ascending.

    Attributes:
        labelled: whose labels are used.
        filmed: whose pictures are used.
        unseen: whose labels are tested.
    """

    labelled: list[int]
    filmed: list[int]
    unseen: list[int]

    @classmethod
    def full(cls, count: int) -> LabelSplit:
        """All of ``count`` frames labelled: new views are left to test."""
        return cls(list(range(count)), list(range(count)), [])

    @classmethod
    def completion(cls, count: int, share: float, pictures: str = "all") -> LabelSplit:
        """Labels at both ends of the video, none in the gap between them (Semantic Flow, semantic completion).

        Args:
            share: percent of the ``count`` frames that are labelled; the first half of them, or one more, at the start.
            pictures: ``all``, or ``labelled`` to withhold those of the gap too.

        Raises BadInput: a share that leaves nothing labelled at either end or no gap, or other pictures.
        """
        labelled = _number(count, share, least=2)
        start, end = labelled - labelled // 2, count - labelled // 2
        gap = list(range(start, end))
        return cls._of(count, [*range(start), *range(end, count)], gap, pictures, "labelled")

    @classmethod
    def tracking(cls, count: int, share: float, pictures: str = "seen") -> LabelSplit:
        """Labels of the first part, the rest is to be followed (Semantic Flow, dynamic scene tracking).

        Args:
            share: percent of the ``count`` frames that are labelled.
            pictures: ``seen``, those of the labelled frames, or ``all``.

        Raises BadInput: a share that leaves nothing labelled or nothing to test, or other pictures.
        """
        labelled = _number(count, share, least=1)
        return cls._of(count, list(range(labelled)), list(range(labelled, count)), pictures, "seen")

    @classmethod
    def _of(cls, count: int, labelled: list[int], unseen: list[int], pictures: str, few: str) -> LabelSplit:
        if pictures not in ("all", few):
            raise BadInput(f"pictures: expected all or {few}, got {pictures!r}")
        return cls(labelled, list(range(count)) if pictures == "all" else labelled, unseen)

    @classmethod
    def checked(cls, record, count: int, source) -> LabelSplit:
        """The split of ``count`` frames that ``record`` holds, lists by attribute; errors name its ``source``.

        Raises BadInput: a record of anything else, or of other positions.
        """
        names = [item.name for item in fields(cls)]
        if not isinstance(record, dict) or set(record) != set(names):
            raise BadInput(f"{source}: split: expected lists called {', '.join(names)}")
        for name in names:
            found = record[name]
            if not isinstance(found, list) or not all(type(k) is int and 0 <= k < count for k in found):
                raise BadInput(f"{source}: split: {name}: expected numbers of training frames below {count}")
        return cls(**record)

    def seen(self, scene: Scene) -> Scene:
        """What training may know of ``scene``: the filmed frames, and of these only the labelled ones' labels.

        Flow to or from a frame that is not filmed, points seen then, true tracks and the test frames are left out.
        """
        frames, filmed = scene.split("train"), set(self.filmed)
        kept = []
        for position in self.filmed:
            frame, hidden = frames[position], []
            if position not in self.labelled:
                hidden += TRUTHS
            if position + 1 not in filmed:
                hidden += [layer for layer in Frame.LAYERS if layer.startswith("flow_forward")]
            if position - 1 not in filmed:
                hidden += [layer for layer in Frame.LAYERS if layer.startswith("flow_backward")]
            kept.append(frame.with_layers(**dict.fromkeys(hidden)))
        points = _known(scene.points, [frame.time for frame in kept])
        return replace(scene, frames=kept, train=list(range(len(kept))), test=[], points=points, tracks=None)

    def tested(self, scene: Scene) -> dict[str, list[Frame]]:
        """Frames of the full ``scene`` to be tested on: ``train``, training cameras at unseen times, and ``test``, the
        test cameras at such times, which are those nearer to an unseen frame than to any labelled one. Where every
        frame is labelled, all test frames."""
        frames, others = scene.split("train"), scene.split("test")
        if not self.unseen:
            return {"train": [], "test": others}
        unseen = [frames[position] for position in self.unseen]
        labelled = [frames[position].time for position in self.labelled]

        def hidden(time: float) -> bool:
            return min(abs(f.time - time) for f in unseen) < min(abs(known - time) for known in labelled) - 1e-9

        return {"train": unseen, "test": [frame for frame in others if hidden(frame.time)]}


def _number(count: int, share: float, least: int) -> int:
    """How many of ``count`` frames ``share`` percent are; BadInput unless some remain on either side."""
    labelled = round(count * share / 100) if 1 <= share <= 99 else 0
    if not least <= labelled < count:
        raise BadInput(
            f"share: expected percent of {count} frames that make {least} to {count - 1} of them, got {share}"
        )
    return labelled


def _known(points: PointCloud | None, times: list[float]) -> PointCloud | None:
    """The points that stand still or were seen at one of ``times``."""
    if points is None or points.times is None:
        return points
    apart = (points.times[:, None] - torch.tensor(times).to(points.times)).abs().amin(1)
    keep = points.times.isnan() | (apart < 1e-6)
    return PointCloud(points.positions[keep], points.colors[keep], points.times[keep])
