"""How many processor cores there are to use."""

import os


def cores() -> int:
    """Those that this process may run on, where the system says it; else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
