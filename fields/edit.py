"""What is changed in a field before it is shown: things removed, recoloured, repeated, another background.

A thing is called by its name: of a class in a flow field, of a selected object among Gaussians.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..scenes import BadInput
from ..scenes.files import read_json, write_json

FORMAT = 2
AXES = ("x", "y", "z")
LUMA = (0.2126, 0.7152, 0.0722)  # of red, green and blue (ITU-R BT.709)
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Copy:
    """Things as they are at one place and time, shown at another.

    A point x of theirs is seen at ``c + L (x - c) + offset``: c is their centre, L mirrors, turns and scales.

    Attributes:
        names: of the things.
        clip: the video that they are taken from; None: the one that is shown.
        offset: in scene units. scale: above 0.
        turn: degrees about the upright axis, counterclockwise seen from above.
        mirror: the axis, x, y or z, that is turned over, before all else; None: none.
        time: 0..1, at which they are frozen; None: they move.
        speed: of their time; negative: they move backwards from the end. They rest where the video ends.
        about: their centre as rows (time, x, y, z), linear between them; (): to be found in the field.
        reach: how far from the centre anything of theirs may be, scene units; None: anywhere.
    """

    names: tuple[str, ...]
    clip: str | None = None
    offset: Vector = (0.0, 0.0, 0.0)
    scale: float = 1.0
    turn: float = 0.0
    mirror: str | None = None
    time: float | None = None
    speed: float = 1.0
    about: tuple[tuple[float, float, float, float], ...] = ()
    reach: float | None = None

    def __post_init__(self):
        object.__setattr__(self, "names", _names("names", self.names))
        object.__setattr__(self, "offset", _numbers("offset", self.offset, 3))
        object.__setattr__(self, "about", tuple(_numbers("about", row, 4) for row in self.about))
        for name in ("scale", "turn", "speed"):
            object.__setattr__(self, name, *_numbers(name, [getattr(self, name)], 1))
        for name in ("time", "reach"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, *_numbers(name, [getattr(self, name)], 1))
        if self.scale <= 0:
            raise BadInput(f"scale: expected a number above 0, got {self.scale:g}")
        if self.time is not None and not 0 <= self.time <= 1:
            raise BadInput(f"time: expected 0 to 1, got {self.time:g}")
        if self.mirror not in (None, *AXES):
            raise BadInput(f"mirror: expected one of {', '.join(AXES)}, got {self.mirror!r}")

    def changed(self, offset: Sequence[float] = (0, 0, 0), scale: float = 1.0, turn: float = 0.0,
                time: float | None = None, speed: float = 1.0) -> Copy:
        """This copy, moved, scaled and turned about its centre further; ``time`` None: as it was."""
        moved = tuple(a + b for a, b in zip(self.offset, offset, strict=True))
        return replace(
            self, offset=moved, scale=self.scale * scale, turn=self.turn + turn, speed=self.speed * speed,
            time=self.time if time is None else time,
        )

    def moment(self, time: float) -> float:
        """The things' own time when ``time`` is shown."""
        if self.time is not None:
            return self.time
        return min(1.0, max(0.0, self.speed * time + (self.speed < 0)))

    def center(self, moment: float) -> Tensor:
        """Their centre [3] at their own time, float64."""
        if not self.about:
            return torch.zeros(3, dtype=torch.float64)
        rows = np.array(sorted(self.about))
        return torch.tensor([np.interp(moment, rows[:, 0], rows[:, axis]) for axis in (1, 2, 3)], dtype=torch.float64)

    def linear(self, up: Vector) -> Tensor:
        """L [3, 3], float64."""
        made = self.scale * rotation(up, math.radians(self.turn))
        if self.mirror is not None:
            made[:, AXES.index(self.mirror)] *= -1
        return made

    def forth(self, points: Tensor, moment: float, up: Vector) -> Tensor:
        """Where points [..., 3] of the things at their own time are shown."""
        linear, center = self.linear(up).to(points), self.center(moment).to(points)
        return center + (points - center) @ linear.T + torch.tensor(self.offset).to(points)

    def back(self, points: Tensor, moment: float, up: Vector) -> Tensor:
        """The points [..., 3] of the things that are shown at ``points``."""
        inverse, center = self.linear(up).inverse().to(points), self.center(moment).to(points)
        return center + (points - center - torch.tensor(self.offset).to(points)) @ inverse.T


@dataclass(frozen=True)
class Edit:
    """Everything that is changed in one video of a field, without training it again.

    Attributes:
        removed: names of things that are gone; copies stay.
        recoloured: colours in 0..1 by name. A thing keeps its brightness, copies are recoloured too.
        background: the video whose static field stands in; None: its own.
        copies: things shown again; a thing that is removed and copied has moved.
        clip: the video that is changed; None: the first.
        up: direction that points up.
        moving: names of all things that move in the video; None: to be found in the field.
        gone: where removed things were, each as a copy of one; of those not among them it is to be found in the field.
    """

    removed: tuple[str, ...] = ()
    recoloured: dict[str, Vector] = field(default_factory=dict)
    background: str | None = None
    copies: tuple[Copy, ...] = ()
    clip: str | None = None
    up: Vector = (0.0, 0.0, 1.0)
    moving: tuple[str, ...] | None = None
    gone: tuple[Copy, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "removed", _names("removed", self.removed))
        for name in ("copies", "gone"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.moving is not None:
            object.__setattr__(self, "moving", _names("moving", self.moving))
        if any(len(copy.names) != 1 or copy.reach is None for copy in self.gone):
            raise BadInput("gone: expected copies of one name each, with their reach")
        object.__setattr__(self, "up", _numbers("up", self.up, 3))
        colors = {name: _numbers("recoloured", color, 3) for name, color in self.recoloured.items()}
        object.__setattr__(self, "recoloured", colors)
        for color in colors.values():
            if not all(0 <= part <= 1 for part in color):
                raise BadInput(f"color: expected three numbers in 0..1, got {', '.join(f'{p:g}' for p in color)}")

    @property
    def names(self) -> set[str]:
        """Of all things that it speaks of."""
        shown = (name for copy in (*self.copies, *self.gone) for name in copy.names)
        return {*self.removed, *self.recoloured, *(self.moving or ()), *shown}

    @property
    def clips(self) -> set[str]:
        """Names of all videos that it speaks of."""
        return {self.clip, self.background, *(copy.clip for copy in self.copies)} - {None}

    def without(self, name: str) -> Edit:
        """With a thing removed, and its copies."""
        others, _ = self._apart(name)
        return replace(self, removed=_with(self.removed, name), copies=others)

    def changed(self, name: str, **change) -> Edit:
        """With a thing, and each copy of it, changed as :meth:`Copy.changed` says."""
        others, mine = self._apart(name)
        copies = (*others, *(copy.changed(**change) for copy in mine))
        return replace(self, removed=_with(self.removed, name), copies=copies)

    def repeated(self, name: str, **change) -> Edit:
        """With a changed copy of a thing, and of each copy of it, besides."""
        _, mine = self._apart(name)
        return replace(self, copies=(*self.copies, *(copy.changed(**change) for copy in mine)))

    def inserted(self, name: str, clip: str, **change) -> Edit:
        """With a thing of another video besides."""
        return replace(self, copies=(*self.copies, Copy((name,), clip).changed(**change)))

    def recolored(self, name: str, color: Vector) -> Edit:
        """With a thing in another colour."""
        return replace(self, recoloured={**self.recoloured, name: color})

    def _apart(self, name: str) -> tuple[tuple[Copy, ...], list[Copy]]:
        """The copies without ``name``, and everything that shows it, each as a copy of it alone."""
        others, mine = [], [] if name in self.removed else [Copy((name,))]
        for copy in self.copies:
            rest = tuple(other for other in copy.names if other != name)
            if rest:
                others.append(replace(copy, names=rest))
            if name in copy.names:
                mine.append(replace(copy, names=(name,)))
        return tuple(others), mine

    def write(self, path: str | Path, of: dict) -> None:
        """Write it as JSON, atomically; ``of`` says which field it is made for."""
        write_json(path, {"format": FORMAT, "of": of, **dataclasses.asdict(self)})

    @classmethod
    def read(cls, path: str | Path, of: dict) -> Edit:
        """What :meth:`write` wrote. BadInput: not an edit, a newer one, or one of another field than ``of`` says."""
        values = read_json(path)
        if not isinstance(values, dict) or not isinstance(values.get("format"), int):
            raise BadInput(f"{path}: format: expected an edit of format {FORMAT}")
        if values["format"] > FORMAT:
            raise BadInput(f"{path}: format: {values['format']} is newer than this version reads ({FORMAT})")
        values.pop("format")
        theirs = values.pop("of", None)
        if theirs != of:
            raise BadInput(f"{path}: of: expected an edit of a field of {of}, got {theirs}")
        try:
            copies = {name: [Copy(**copy) for copy in values.pop(name, [])] for name in ("copies", "gone")}
            return cls(**values, **copies)
        except (TypeError, AttributeError) as error:
            raise BadInput(f"{path}: {' '.join(str(error).split())}") from error
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from error


def repainted(colors: Tensor, color: Vector) -> Tensor:
    """``colors`` [..., 3] in the hue of ``color`` and as bright as before; brightness is luma.

    As saturated as ``color`` where that leaves no channel above 1.
    """
    weights = torch.tensor(LUMA).to(colors)
    wanted = torch.tensor(color).to(colors)
    luma = (colors * weights).sum(-1, keepdim=True)
    hue = wanted / (wanted * weights).sum().clamp_min(1e-6) if max(color) > 0 else torch.ones_like(wanted)
    chroma = luma * (hue - 1)
    most = chroma.amax(-1, keepdim=True)
    return luma + chroma * ((1 - luma) / most.clamp_min(1e-9)).clamp(0, 1)


def rotation(axis: Vector, angle: float) -> Tensor:
    """By ``angle`` radians about ``axis`` (Rodrigues), float64 [3, 3]."""
    x, y, z = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0).tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    return torch.eye(3, dtype=torch.float64) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return names if name in names else (*names, name)


def _names(what: str, names) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise BadInput(f"{what}: expected a list of names, got {names!r}")
    return tuple(names)


def _numbers(what: str, values, count: int) -> tuple[float, ...]:
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise BadInput(f"{what}: expected {count} numbers, got {values!r}") from None
    if len(found) != count or not all(math.isfinite(value) for value in found):
        raise BadInput(f"{what}: expected {count} finite numbers, got {values!r}")
    return found
