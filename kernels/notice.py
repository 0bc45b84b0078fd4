"""A word to whoever waits while kernels are compiled."""

import contextlib
import sys
import threading

PATIENCE = 0.5  # seconds that need no explanation

_said = set()


@contextlib.contextmanager
def explained(what: str):
    """Say ``what`` in a line on standard error, once in a process, if the work inside takes noticeably long."""
    if what in _said:
        yield
        return

    def say():
        _said.add(what)
        print(f"semaflow: {what}", file=sys.stderr, flush=True)

    timer = threading.Timer(PATIENCE, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
