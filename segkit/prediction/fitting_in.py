"""What a machine's memory, or a model of one size, is too small for, told in one line."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from segkit.backbones.backbone import ImageTooLargeError
from segkit.errors import UsageError
from segkit.memory import ran_out
from segkit.one_line import one_line


@contextmanager
def fitting_in(what: str, cure: Callable[[], str]) -> Iterator[None]:
    """Turn what doesn't fit into a UsageError that names ``what`` and says what to do about memory: ``cure``.

    Raises:
        UsageError: out of memory, the GPU's or the machine's, or an image larger than a backbone of one size takes.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UsageError(f"{what}: out of GPU memory{cure()}") from error
    except ImageTooLargeError as error:
        raise UsageError(f"{what}: {one_line(error)}") from error
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        raise UsageError(f"{what}: out of memory{cure()}") from error
