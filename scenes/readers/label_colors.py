"""Labels drawn in colours, and the ``labelmap.txt`` that says which colour is which class."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..files import BadInput, existing
from ..images import read_colors

LINE = re.compile(r"([^:]+):(\d{1,3}),(\d{1,3}),(\d{1,3})(?::[^:]*){0,2}")
# What blends of the classes' colours at edges may cover of a picture: one of them, all together.
ONE_BLEND, BLENDS = 0.01, 0.1


@dataclass(frozen=True)
class LabelColors:
    """Class ``names`` by id, and their ``codes`` [C] int64: red, green and blue in one number."""

    names: list[str]
    codes: Tensor
    source: Path

    @classmethod
    def read(cls, path: Path) -> LabelColors:
        """The classes of a label map: a line ``name:r,g,b::`` for each, in the order of their ids.

        A first line that is no class is a header. Raises BadInput: any other line that is no class,
        a name or colour that comes twice, no class at all.
        """
        colors: dict[str, int] = {}
        for number, line in enumerate(lines_of(path), 1):
            match = LINE.fullmatch(line)
            if match is None and (number == 1 or not line):
                continue
            if match is None or max(map(int, match.groups()[1:])) > 255:
                raise BadInput(f"{path}: line {number}: expected name:r,g,b::, got {line!r}")
            name, code = match[1].strip(), _code(*map(int, match.groups()[1:]))
            if name in colors or code in colors.values():
                what = f"class {name!r}" if name in colors else f"colour {_shown(code)}"
                raise BadInput(f"{path}: line {number}: {what} comes twice")
            colors[name] = code
        if not colors:
            raise BadInput(f"{path}: expected a line name:r,g,b:: for each class, got none")
        return cls(list(colors), torch.tensor(list(colors.values())), path)

    def decode(self, path: Path, ignore_unknown: bool = False) -> Tensor:
        """Ids [H, W] int64 of the picture ``path``; -1 where its colour is no class's.

        So are blends at the edges of a picture that was scaled. Where one such colour covers over
        1% of the picture, or all of them over 10%, it is a class that the map lacks: BadInput,
        unless ``ignore_unknown``.
        """
        red, green, blue = read_colors(path).long().unbind(-1)
        code = _code(red, green, blue)
        codes, order = self.codes.sort()
        place = torch.searchsorted(codes, code).clamp_max(len(codes) - 1)
        ids = torch.where(codes[place] == code, order[place], -1)
        unknown = code[ids < 0]
        if len(unknown) and not ignore_unknown:
            found, counts = unknown.unique(return_counts=True)
            most = counts.argmax()
            one, every = counts[most].item() / code.numel(), len(unknown) / code.numel()
            if one > ONE_BLEND or every > BLENDS:
                raise BadInput(
                    f"{path}: colour {_shown(found[most].item())} covers {one:.1%} of the picture "
                    f"(all unknown ones {every:.1%}); expected the colours in {self.source}"
                )
        return ids


def lines_of(path: Path) -> list[str]:
    """The lines of a text file without the space around them; BadInput where it is no text."""
    try:
        text = existing(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: expected text in UTF-8 ({error.reason})") from error
    return [line.strip() for line in text.splitlines()]


def _code(red, green, blue):
    return (red * 256 + green) * 256 + blue


def _shown(code: int) -> str:
    return f"{code >> 16},{code >> 8 & 255},{code & 255}"
