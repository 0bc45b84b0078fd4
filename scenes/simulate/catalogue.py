"""The simulated worlds by name."""

from __future__ import annotations

from .balls import balls
from .flag import flag
from .rooms import rooms
from .twins import twins
from .walker import walker

WORLDS = {"balls": balls, "walker": walker, "flag": flag, "twins": twins, "rooms": rooms}
