"""The simulated worlds, each built once for all tests. Do not step them."""

import functools

from semaflow.scenes.simulate import world

built = functools.cache(world)
