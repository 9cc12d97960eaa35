"""Which device computes: the one that is named, or the one that is there."""

import torch

from segkit.errors import UsageError
from segkit.one_line import one_line


def named_device(device: str | torch.device) -> torch.device:
    """The device, if numbers can be put there, and had back; UsageError where they can't."""
    try:
        numbers = torch.ones(1, device=device)
        numbers.item()  # which "meta", of shapes alone, refuses
        return numbers.device
    except (RuntimeError, AssertionError, TypeError, ImportError) as error:  # all but the third: built without it
        raise UsageError(f"device={str(device)!r}: not there ({one_line(error)}); take 'cpu'") from error


def default_device() -> torch.device:
    """The GPU where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_for(model: object) -> torch.device:
    """Where the model is, or the first GPU where the model is on the CPU and there is a GPU."""
    first = next(model.parameters(), None) if isinstance(model, torch.nn.Module) else None
    if first is None:  # functions and exported files: they say themselves where they compute
        return torch.device("cpu")
    return default_device() if first.device.type == "cpu" else first.device
