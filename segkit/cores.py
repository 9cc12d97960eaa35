"""How many processor cores there are to use."""

import os
from contextlib import suppress
from math import ceil
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # where Linux says what a container may take
SPINS = "40000"  # looks before a thread of GNU's OpenMP sleeps; by itself 300,000 or more


def cores() -> int:
    """Those that this process may run on, where the system says it, else all; in a container no more than its share."""
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, ceil(min(seen, container_share(CGROUP))))


def container_share(folder: Path) -> float:
    """Cores' worth of time that a control group gives, by its second or first version; infinity without a limit."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period) if quota != "max" else float("inf")
    with suppress(OSError, ValueError):
        quota, period = ((folder / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else float("inf")
    return float("inf")


def considerate_threads() -> None:
    """Let libraries that are loaded from now on share the processor well, unless it is said already how they should.

    They start as many threads as the machine has cores, and a container that may use two of 64 would wait for itself
    most of the time: no more than there are cores to use.

    Those threads wait for one another thousands of times a second, and while they do, they keep their core busy for
    milliseconds. Alone on a machine that is right. Beside one other busy process it keeps from the processor the very
    thread that is waited for, and training is slower by a factor; with a shorter wait by half of that.
    """
    if cores() < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(cores()))
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
