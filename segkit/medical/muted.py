"""Libraries that print what they think of a damaged file, past Python, where one line of ours explains it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_muting = threading.RLock()


@contextmanager
def muted() -> Iterator[None]:
    """Nothing is printed to the standard error, by whomever; one thread after another."""
    with _muting:
        shown = None
        with suppress(OSError):  # a program without a standard error
            shown = os.dup(2)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
        try:
            yield
        finally:
            if shown is not None:
                os.dup2(shown, 2)
                os.close(shown)
