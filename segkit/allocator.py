"""Memory that is freed and soon needed again stays with the process, where the C library is glibc.

By default glibc asks the system for every large block and returns it when it is freed. Each page of it costs a fault
when it is first written, and a network's layers write hundreds of megabytes of such pages in every step.
"""

import ctypes
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

# glibc's malloc.h, and what its defaults come to in a process that has freed a large block before
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
REUSING = {MMAP_MAX: 0, TRIM_THRESHOLD: (1 << 31) - 1}
USUAL = {MMAP_MAX: 65536, MMAP_THRESHOLD: 1 << 25, TRIM_THRESHOLD: 1 << 26}

LONG = 1.0  # seconds; whoever worked as long can wait some milliseconds for memory to be returned

_lock = threading.Lock()
_inside = 0  # how many are in ``reused_memory`` now


@contextmanager
def reused_memory() -> Iterator[None]:
    """While in this, freed memory of the whole process, up to 2 GiB at its end, is kept to be used again.

    Also a decorator. It may be nested, and entered by several threads; after the last has left, and worked for some
    time, what is free is returned to the system.
    """
    global _inside
    library = _glibc()
    if library is None:
        yield
        return
    began = time.monotonic()
    with _lock:
        _inside += 1
        if _inside == 1:
            _set(library, REUSING)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _set(library, USUAL)
                if time.monotonic() - began > LONG:
                    library.malloc_trim(0)


def _set(library: Any, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(option, value)


@cache
def _glibc() -> Any | None:
    """The C library of this process; None where it isn't glibc."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
