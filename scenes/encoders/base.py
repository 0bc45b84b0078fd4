"""What every encoder offers: maps of a clip's frames, and a summary of the clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..scene import Frame
from ..teachers import FeatureMaps, Teacher, feature_maps


class Encoder:
    """A frozen network that describes the frames of a clip. ``name``: what to call it.

    A new one defines :meth:`maps` and is entered in ``ENCODERS`` (by name) or ``ENCODER_KINDS`` (by
    the model type in a hub model's config.json). One that sees single images is a teacher, and a
    :class:`FrameEncoder` of that.
    """

    name: str = ""

    def maps(self, frames: Sequence[Frame], folder: str | Path) -> FeatureMaps:
        """The maps [h, w, C] of ``frames`` (in time order; nothing else is looked at), kept in ``folder``."""
        raise NotImplementedError

    def summaries(self, frames: Sequence[Frame], folder: str | Path) -> FeatureMaps:
        """Maps [h, w, G] whose mean over cells and frames is the vector of the clip."""
        return self.maps(frames, folder)


class FrameEncoder(Encoder):
    """Each frame by itself, as ``teacher`` sees it; summaries by ``summariser``, if that is another."""

    def __init__(self, teacher: Teacher, summariser: Teacher | None = None):
        self.name, self.teacher, self.summariser = teacher.name, teacher, summariser or teacher

    def maps(self, frames: Sequence[Frame], folder: str | Path) -> FeatureMaps:
        return feature_maps(frames, self.teacher, folder)

    def summaries(self, frames: Sequence[Frame], folder: str | Path) -> FeatureMaps:
        return feature_maps(frames, self.summariser, folder)
