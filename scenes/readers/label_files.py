"""The labels of a scene: coloured pictures, with their label map beside the scene or above it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..files import BadInput
from .label_colors import LabelColors, lines_of
from .sized import Size, sized_picture

LABEL_MAP, FOREGROUND = "labelmap.txt", "foreground_object.txt"


class LabelFiles:
    """Label pictures of the scene in the folder ``path``, resampled to ``size``.

    The label map and the list of what moves are read with the first of them: scenes without labels
    need none.
    """

    def __init__(self, path: Path, size: Size, ignore_unknown: bool):
        self.path, self.size, self.ignore_unknown = path.resolve(), size, ignore_unknown
        self._colors: LabelColors | None = None
        self._moving: Tensor | None = None

    @property
    def names(self) -> list[str]:
        """Class names by id; none before there are labels."""
        return self._colors.names if self._colors else []

    def layers(self, file: Path | None) -> dict[str, Callable[[], Tensor]]:
        """Of the picture ``file``: layer label, and mask where it is known what moves."""
        if file is None:
            return {}
        if self._colors is None:
            self._read()
        decode = partial(self._colors.decode, ignore_unknown=self.ignore_unknown)
        layers = {"label": sized_picture(file, "label", decode, self.size)}
        if self._moving is not None:
            layers["mask"] = partial(_among, layers["label"], self._moving)
        return layers

    def _read(self) -> None:
        source, listed = self._beside(LABEL_MAP), self._beside(FOREGROUND)
        if source is None:
            raise BadInput(
                f"{self.path / LABEL_MAP}: missing, here and above, while labels are there"
            )
        self._colors = LabelColors.read(source)
        if listed is None:
            return
        moving = [line for line in lines_of(listed) if line]
        unknown = [name for name in moving if name not in self.names]
        # a list above, for many scenes, may name what a scene's own map lacks
        if unknown and listed.parent == source.parent:
            raise BadInput(f"{listed}: expected classes of {source}, got {unknown[0]!r}")
        known = [self.names.index(name) for name in moving if name in self.names]
        self._moving = torch.tensor(known, dtype=torch.int64)

    def _beside(self, name: str) -> Path | None:
        places = (self.path / name, self.path.parent / name)
        return next((place for place in places if place.is_file()), None)


def _among(label: Callable[[], Tensor], ids: Tensor) -> Tensor:
    return torch.isin(label(), ids)
