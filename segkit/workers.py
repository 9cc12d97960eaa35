"""The processes that read for a training: how many of them, and what they don't answer."""

import multiprocessing
import shutil
import signal
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch.utils.data import Dataset

from segkit.cores import cores
from segkit.errors import DataError, UsageError

Workers = int | Literal["auto"]
T = TypeVar("T")

SHARED_MEMORY = "/dev/shm"  # where processes leave batches on Linux; 64 MiB in a container, unless it is given more
KEPT_FREE = 0.2  # of it
FEW = 2  # cores


def check_not_importing() -> None:
    """Raise UsageError in a process that reads and has only begun: it imports the script that started it.

    So it does on Windows, macOS and from Python 3.14 on; a training that isn't guarded there would start again in each.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UsageError(
            "the script that trains is imported by its workers; put the call under: if __name__ == '__main__'"
        )


def loader_workers(wanted: Workers, device: torch.device, batch: int, *, decoded: bool = False) -> int:
    """How many processes prepare batches: as many as wanted; or half the cores, 4 at most, for a GPU more.

    Args:
        wanted: by the recipe.
        device: what they prepare for.
        batch: bytes of one, of which each process has two waiting in shared memory; with ``auto`` no more than fit.
        decoded: whether pictures lie decoded in memory. Then two cores need no further process: PyTorch's threads wait
            for one another, and lose more beside it than cutting the crops takes.
    """
    if wanted != "auto":
        return wanted
    if decoded and device.type == "cpu" and cores() <= FEW:
        return 0
    most = min(12, max(1, cores() - 1)) if device.type == "cuda" else min(4, cores() // 2)
    room = int((1 - KEPT_FREE) * shared_memory() / max(batch, 1))
    return max(0, min(most, (room - 1) // 2))  # one more batch is in hand


def shared_memory() -> int:
    """Bytes that processes may still share; where the system sets no limit to them of its own, very many."""
    try:
        return shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return 1 << 62


class Reading(Dataset[T | DataError]):
    """Items read by a loader's processes; an error is an item, because a loader gives it with its traceback.

    Args:
        read: an item by its key.
        count: of all items.
    """

    def __init__(self, read: Callable[[Any], T], count: int) -> None:
        self._read, self._count = read, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, key: Any) -> T | DataError:
        try:
            return self._read(key)
        except DataError as error:
            return error


def ignore_interrupts(_worker: int) -> None:
    """Both signals often reach every process of a terminal or a job; only the parent may answer them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
