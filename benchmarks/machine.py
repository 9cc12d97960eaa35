"""What a figure was measured on."""

import os
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch


def machine() -> dict[str, str]:
    """Processor, cores, versions and date, for a result file."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else torch.cpu.get_capabilities()["cpu_name"]
    return {
        "processor": f"{device}{_kind()}",
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "torch": torch.__version__,
        "segkit": version("segkit"),
        "date": date.today().isoformat(),
    }


def status(field: str) -> int:
    """A value of this process in KiB, as ``VmHWM``, its peak memory."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise ValueError(field)


def _kind() -> str:
    """Family and model of the processor, which some names leave out and which speed depends on; empty on a GPU."""
    about = Path("/proc/cpuinfo")
    if torch.cuda.is_available() or not about.is_file():
        return ""
    lines = (line.partition(":") for line in about.read_text().splitlines())
    found = {key.strip(): value.strip() for key, _, value in reversed(list(lines))}
    numbers = [f"{name} {found[key]}" for name, key in (("family", "cpu family"), ("model", "model")) if key in found]
    return "".join(f", {number}" for number in numbers)
