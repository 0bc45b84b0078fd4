"""A trained perception field goes on with other settings, or on one scene."""

from __future__ import annotations

from ...scenes import BadInput
from .config import SIZES, PerceptionConfig
from .field import PerceptionField

FRESH = "instance_head."  # what a field of no, or of so many, single things may begin with


def adapted(field: PerceptionField, config: PerceptionConfig) -> PerceptionField:
    """A field of settings ``config`` whose networks are those of ``field``.

    Another number of reference views, samples, or instance slots, or another precision, is no other network; an
    instance head that ``field`` has not, or not of that many slots, is fresh. BadInput: a setting of :data:`SIZES` that
    is another.
    """
    for name in SIZES:
        before, now = getattr(field.config, name), getattr(config, name)
        if now != before:
            raise BadInput(f"setting {name!r}: expected {before!r}, as the run's networks have, got {now!r}")
    made = PerceptionField(config, field.label_names)
    keep = config.instances == field.config.instances
    known = {
        name: value for name, value in field.state_dict().items()
        if not name.startswith("views.") and (keep or not name.startswith(FRESH))
    }
    made.load_state_dict(known, strict=keep)
    return made
