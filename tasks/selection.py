"""A named set of Gaussians, and how such sets are combined."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..fields.field import check_header
from ..scenes import BadInput
from ..scenes.files import read_tensors, write_tensors

FORMAT = 1


@dataclass
class Selection:
    """A named set of Gaussians.

    Attributes:
        name: letters, digits, space, ``_`` and ``-``, so that it can name a file.
        selected: [N] bool, always ``scores >= threshold``.
        scores: [N] float32, higher means more surely part of the object.
        threshold: the cut.
        query: the feature [D] that was looked for, or None.
        how: in words, how it was selected.
        frame, pixels: name of the frame in which it was pointed at, and its mask [H, W] bool there; or None.
    """

    name: str
    selected: Tensor
    scores: Tensor
    threshold: float
    query: Tensor | None
    how: str
    frame: str | None = None
    pixels: Tensor | None = None

    @classmethod
    def of(cls, name: str, scores: Tensor, threshold: float, query: Tensor | None, how: str):
        """Every Gaussian whose score reaches ``threshold``; BadInput when none does."""
        check_name(name)
        scores = scores.detach().float().cpu()
        selected = scores >= threshold
        if not selected.any():
            raise BadInput(
                f"{name}: the selection is empty: no score reaches the threshold {threshold:.3g}, "
                f"the highest is {scores.max().item():.3g}"
            )
        query = None if query is None else query.detach().float().cpu()
        return cls(name, selected, scores, float(threshold), query, how)

    @classmethod
    def of_class(cls, shares: Tensor, number: int, name: str) -> Selection:
        """The Gaussians that have more of the class ``number`` than of any other, by the shares [N, C] in each;
        BadInput when there are none."""
        others = shares.detach().clone()
        others[:, number] = 0
        return cls.of(name, shares[:, number] - others.amax(-1), 1e-6, None, "by its class")

    def cut(self, threshold: float) -> Selection:
        """The same object at another threshold: lower takes in more, higher leaves a part."""
        return Selection.of(self.name, self.scores, threshold, self.query, self.how)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file whose header says how the selection was made, atomically."""
        tensors = {"selected": self.selected, "scores": self.scores}
        if self.query is not None:
            tensors["query"] = self.query
        if self.pixels is not None:
            tensors["pixels"] = self.pixels
        header = {
            "format": str(FORMAT),
            "kind": "selection",
            "name": self.name,
            "how": self.how,
            "threshold": repr(self.threshold),
            "count": str(len(self.selected)),
        }
        if self.frame is not None:
            header["frame"] = self.frame
        write_tensors(path, tensors, header)

    @classmethod
    def load(cls, path: str | Path, count: int) -> Selection:
        """Read what :meth:`save` wrote for a field of ``count`` Gaussians.

        Raises BadInput: missing or corrupt file, a newer format, or a selection of another field.
        """
        tensors, header = read_tensors(path)
        check_header(header, "selection", FORMAT, path)
        for name, dtype in {"selected": torch.bool, "scores": torch.float32}.items():
            value = tensors.get(name)
            if value is None or value.dtype != dtype or value.shape != (count,):
                got = "nothing" if value is None else f"{value.dtype} {tuple(value.shape)}"
                raise BadInput(f"{path}: {name}: expected {dtype} ({count},), got {got}")
        try:
            threshold = float(header["threshold"])
            name, how = check_name(header["name"]), header["how"]
        except (KeyError, ValueError) as error:
            raise BadInput(f"{path}: header: name, how or threshold unusable ({error})") from error
        pixels = tensors.get("pixels")
        if pixels is not None and (pixels.dtype != torch.bool or pixels.ndim != 2):
            raise BadInput(f"{path}: pixels: expected torch.bool (H, W), got {pixels.dtype} {tuple(pixels.shape)}")
        scores, query = tensors["scores"], tensors.get("query")
        return cls(name, tensors["selected"], scores, threshold, query, how, header.get("frame"), pixels)


def check_name(name: str) -> str:
    """``name`` if it can name an object and its files; BadInput otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9_-]([A-Za-z0-9 _-]{0,62}[A-Za-z0-9_-])?", name):
        raise BadInput(
            f"name: expected letters, digits, spaces, _ and -, at most 64 of them, got {name!r}"
        )
    return name


def combine(
    name: str,
    base: Selection | None,
    both: Sequence[Selection] = (),
    either: Sequence[Selection] = (),
    minus: Sequence[Selection] = (),
) -> Selection:
    """``base`` and all of ``both``, or any of ``either``, but none of ``minus``.

    Without ``base`` the first given selection starts. Scores become margins over each threshold,
    combined by smallest and largest, so that a combination has a cut of its own, at 0.
    """
    steps = [("and", s) for s in both] + [("or", s) for s in either] + [("minus", s) for s in minus]
    if base is None:
        if not both and not either:
            raise BadInput("select: nothing to start from; give a click, a text, pixels or objects")
        (_, base), steps = steps[0], steps[1:]
    if not steps:
        return replace(base, name=check_name(name))
    margin = base.scores - base.threshold
    for operation, other in steps:
        rival = other.scores - other.threshold
        if operation == "and":
            margin = torch.minimum(margin, rival)
        elif operation == "or":
            margin = torch.maximum(margin, rival)
        else:  # a Gaussian exactly at the other's threshold belongs to the other
            margin = torch.minimum(margin, -rival - 1e-6)
    words = " ".join(f"{operation} {other.name}" for operation, other in steps)
    return Selection.of(name, margin, 0.0, base.query, f"({base.how}) {words}")


def names(folder: Path) -> list[str]:
    """Of all selections of the run in ``folder``."""
    return sorted(path.stem for path in (folder / "objects").glob("*.safetensors"))


def named(folder: Path, field, name: str) -> Selection:
    """The selection called ``name`` of the run in ``folder``, or the Gaussians of the class of that name in its
    ``field``; BadInput lists the names there are."""
    selected = names(folder)
    if name in selected:
        return Selection.load(folder / "objects" / f"{name}.safetensors", field.count)
    classes = field.label_names if field.kind == "gaussians" else []
    if name in classes:
        return Selection.of_class(field.posed(0.0).classes, classes.index(name), name)
    there = [*selected, *classes]
    raise BadInput(f"no such object {name!r}; there are: {', '.join(there) or 'none yet'}")
