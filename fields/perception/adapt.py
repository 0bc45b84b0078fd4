"""A trained perception field goes on with other settings, or on one scene."""

from __future__ import annotations

from ...scenes import BadInput
from .config import PerceptionConfig
from .field import PerceptionField

FRESH = "instance_head."  # what a field that told no things apart may begin with


def adapted(field: PerceptionField, config: PerceptionConfig) -> PerceptionField:
    """A field of settings ``config`` whose networks are those of ``field``.

    An instance head that ``field`` has not, or not of that size, is fresh. BadInput: other networks of another size.
    """
    made = PerceptionField(config, field.label_names)
    size = field.config.instances, field.config.head, field.config.head_width
    keep = size == (config.instances, config.head, config.head_width)
    known = {
        name: value for name, value in field.state_dict().items()
        if not name.startswith("views.") and (keep or not name.startswith(FRESH))
    }
    try:
        missing, unknown = made.load_state_dict(known, strict=False)
    except RuntimeError as error:
        line = str(error).strip().splitlines()[-1].strip()
        raise BadInput(f"settings: networks of another size than the run's: {line}") from error
    wrong = [name for name in [*missing, *unknown] if not name.startswith(FRESH)]
    if wrong:
        raise BadInput(f"settings: other networks than the run's: {wrong[0]}")
    return made
