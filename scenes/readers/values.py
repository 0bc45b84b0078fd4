"""What kind of value an option of a reader takes, as its signature says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..files import BadInput


def _texts(value) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


# By annotation: what is expected, in words, and whether a value is that. Numbers are checked where they are used,
# since each has bounds of its own.
KINDS = {
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "str": ("text", lambda value: isinstance(value, (str, Path))),
    "list[str]": ("a list of texts", _texts),
}


def checked(function: Callable, options: dict) -> dict:
    """``options``, some of the arguments of ``function``; BadInput names the first that is of another kind."""
    for name, value in options.items():
        kind = function.__annotations__[name].removesuffix(" | None")
        words, fits = KINDS.get(kind, ("", lambda _: True))
        if not fits(value):
            raise BadInput(f"{name}: expected {words}, got {value!r}")
    return options
