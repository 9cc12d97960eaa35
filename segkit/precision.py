"""Devices that there are, and which arithmetic each does natively."""

from typing import Literal

import torch

from segkit.errors import UsageError
from segkit.one_line import one_line

Precision = Literal["fp32", "bf16", "fp16"]


def present(device: str | torch.device) -> torch.device:
    """The device of that name; UsageError where it isn't there."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch was built without it
        raise UsageError(f"device={str(device)!r}: not there ({one_line(error)}); take 'cpu'") from error


def fastest(device: torch.device) -> Precision:
    """``bf16`` where the device computes it natively, else ``fp16`` on a GPU and ``fp32`` on a CPU.

    A CPU without bfloat16 instructions emulates them: exact enough, but slower than float32.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu":
        found = torch.cpu.get_capabilities()
        return "bf16" if any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")) else "fp32"
    return "fp32"
