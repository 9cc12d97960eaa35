"""Which arithmetic a device does natively, and float32 that is all of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Literal

import torch

from segkit.backbones.linear import has_onednn

Precision = Literal["fp32", "bf16", "fp16"]

_lock = RLock()
_inside, _before = 0, True  # how many compute so, and what was set before


def fastest(device: torch.device) -> Precision:
    """``bf16`` where the device computes it natively, else ``fp16`` on a GPU and ``fp32`` on a CPU.

    A CPU without bfloat16 instructions emulates them: exact enough, but slower than float32.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):  # which of several is asked
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if has_onednn(device):  # what computes with those instructions
        found = torch.cpu.get_capabilities()
        return "bf16" if any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")) else "fp32"
    return "fp32"


@contextmanager
def whole_float32(device: torch.device) -> Iterator[None]:
    """Convolutions in all of float32's digits: by themselves GPUs take ten bits of 23 (TF32).

    Of threads that do so at once the last one to end brings it back. On other devices there is nothing to do.
    """
    global _before, _inside
    if device.type != "cuda":
        yield
        return
    with _lock:
        if not _inside:
            _before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                torch.backends.cudnn.allow_tf32 = _before
