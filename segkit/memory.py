"""How much memory there is to keep decoded pictures in, and whether it ran out."""

from contextlib import suppress
from pathlib import Path

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
MACHINE = Path("/proc/meminfo")
ALLOCATOR = ("can't allocate memory", "not enough memory")  # PyTorch's on a CPU, whose errors have no kind of their own
SHARE = 8  # an eighth of all: several kinds of data are kept beside each other, and training comes first


def share_of_memory(most: int) -> int:
    """Bytes to keep one kind of data in: ``most``, or an eighth of what the machine or its container has."""
    return min(most, memory() // SHARE)


def ran_out(error: BaseException) -> bool:
    """Whether an error says that the machine's memory is full."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in ALLOCATOR)


def memory() -> int:
    """Bytes that this process may take; where the system doesn't say, very many."""
    found = [1 << 62]
    for file in LIMITS:
        with suppress(OSError, ValueError):
            found.append(int(file.read_text()))  # "max" is none
    with suppress(OSError, ValueError, IndexError, StopIteration):
        total = next(line for line in MACHINE.read_text().splitlines() if line.startswith("MemTotal:"))
        found.append(1024 * int(total.split()[1]))
    return min(found)
