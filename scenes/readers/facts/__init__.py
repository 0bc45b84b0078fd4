"""What data sets have published about themselves: classes, cameras, which scenes and frames are for what."""

from __future__ import annotations

from pathlib import Path

from ...files import BadInput, read_json

ALL = "all"


def facts(name: str) -> dict:
    """The facts about the data set of that name, from ``NAME.json`` beside this file.

    ``classes`` names by raw id, in the order of class ids; ``scenes`` names by split; ``frames`` rules by split (see
    :func:`frame_split`).
    """
    return read_json(Path(__file__).with_name(f"{name}.json"))


def frame_split(rules: dict, split: str, numbers: list[int], source: Path) -> tuple[list[int], list[int]]:
    """Training and test frames of those with ``numbers``, ascending, by one of the published ``rules``.

    A rule counts by file number: every ``step``-th from ``start`` to before ``end``, the ``first`` of these. Training
    frames nearer than ``apart`` to a test frame, or the same, are left out. The split ``all`` tests on none.

    Raises BadInput: no split of that name, or one that trains on none of these frames.
    """
    if split == ALL:
        return sorted(numbers), []
    if split not in rules:
        raise BadInput(f"{source}: split: expected one of {', '.join([*rules, ALL])}, got {split!r}")
    rule, known = rules[split], set(numbers)
    asked = _numbers(**rule["test"])
    near = {number + off for number in asked for off in range(-rule["apart"], rule["apart"] + 1)}
    train = [number for number in _numbers(**rule["train"]) if number in known - near]
    if not train:
        raise BadInput(f"{source}: split: {split} trains on none of the {len(known)} frames with a camera")
    return train, [number for number in asked if number in known]


def _numbers(start: int, end: int, step: int, first: int | None = None) -> list[int]:
    return list(range(start, end, step))[:first]
