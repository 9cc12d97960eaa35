"""What a figure was measured on."""

import os
from datetime import date
from importlib.metadata import version

import torch


def machine() -> dict[str, str]:
    """Processor, cores, versions and date, for a result file."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else torch.cpu.get_capabilities()["cpu_name"]
    return {
        "processor": str(device),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "torch": torch.__version__,
        "segkit": version("segkit"),
        "date": date.today().isoformat(),
    }
