"""Rows of all processes in every one of them, with gradients that find their way back."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Gathered:
    """Rows of all processes, in the order of their ranks.

    Attributes:
        rows: [N, ...]; with a single process simply its own.
        start: where this process's own rows begin.
        rank: int64 [N], the process that each row is from.
    """

    rows: Tensor
    start: int
    rank: Tensor


def processes() -> int:
    """How many processes work together; 1 where none were started so."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(rows: Tensor) -> Gathered:
    """Return the rows [n, ...] of all processes; n may differ between them and may be 0.

    The gradient of each process's rows is the sum over what all processes made of them. So if every process computes
    its share of a loss times the number of processes, gradients averaged over processes, as DistributedDataParallel
    does, are those of one process with all rows. Like every collective operation, forward and backward are for all
    processes alike: a loss must depend on what was gathered also where a process has no rows.
    """
    if processes() == 1:
        return Gathered(rows, 0, torch.zeros(len(rows), dtype=torch.long, device=rows.device))
    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(processes())]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    lengths = [int(count) for count in counts]
    everyone: Tensor = _Gather.apply(rows, lengths)
    rank = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).to(rows.device)
    return Gathered(everyone, sum(lengths[: dist.get_rank()]), rank)


class _Gather(torch.autograd.Function):
    """All rows from each process's own; backward sums over the processes, which gloo and NCCL both can."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, lengths: list[int]) -> Tensor:
        ctx.start = sum(lengths[: dist.get_rank()])
        ctx.length = len(rows)
        most = max(lengths)
        padded = rows.new_zeros(most, *rows.shape[1:])  # collectives are of one shape in all processes
        padded[: len(rows)] = rows
        found = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(found, padded)
        return torch.cat([each[:length] for each, length in zip(found, lengths, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.start : ctx.start + ctx.length], None
