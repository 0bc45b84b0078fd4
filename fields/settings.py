"""Settings by name: frozen dataclasses whose fields a user changes one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import ClassVar

from ..scenes import BadInput


def _texts(value) -> tuple[str, ...]:
    """Texts, or one of several with commas between them."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else tuple(value)


CASTS = {
    "int": int, "float": float, "str": str, "bool": lambda v: str(v).lower() in ("1", "true", "yes", "on"),
    "tuple[str, ...]": _texts, "tuple[int, ...]": lambda v: tuple(int(part) for part in _texts(v)),
}  # fmt: skip


class Settings:
    """What a dataclass of settings inherits: :meth:`replaced`, and that no setting has a value unknown to it.

    ``CHOICES``: by name, all values that a setting may have where these are few; BadInput names them.
    """

    CHOICES: ClassVar[dict[str, Collection]] = {}

    def __post_init__(self):
        for name, known in self.CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                expected = ", ".join(map(str, known))
                raise BadInput(f"setting {name!r}: expected one of {expected}, got {value!r}")

    def replaced(self, **changes):
        """A copy with settings changed; BadInput for an unknown name or a value of the wrong type."""
        known = {field.name: field.type for field in dataclasses.fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise BadInput(f"setting {name!r}: unknown; known: {', '.join(known)}")
            changes[name] = _typed(name, value, known[name])
        return dataclasses.replace(self, **changes)


def _typed(name: str, value, kind: str):
    try:
        return CASTS[kind](value)
    except (TypeError, ValueError):
        raise BadInput(f"setting {name!r}: expected {kind}, got {value!r}") from None
