"""Python's search for garbage, put off while many objects are made that stay.

The search looks at all objects each time that they have become a quarter more. While torch and Warp are imported and
kernels are defined it would look again and again at what is not garbage: a sixth of the time to a first picture.
"""

import contextlib
import gc


@contextlib.contextmanager
def put_off():
    """No search for garbage inside, in any thread; afterwards as before."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()
