"""Things that are made once in a process, whatever threads ask for them first.

Two threads that define or compile kernels of one module at the same time would get in each other's way, so there is one
lock for all that. It is not taken for what is there already.
"""

import functools
import threading

from .garbage import put_off

MAKING = threading.RLock()


def once(make):
    """A function of positional arguments that remembers what ``make`` returned for them, and never calls it twice for
    the same, until ``forget`` is called."""
    made = {}

    @functools.wraps(make)
    def maker(*key):
        if key not in made:
            with MAKING, put_off():
                if key not in made:
                    made[key] = make(*key)
        return made[key]

    maker.forget = made.clear
    return maker
