"""Muon for matrices and AdamW for everything else, as one optimiser."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import AdamW, Muon, Optimizer


class MuonAdamW(Optimizer):
    """Muon (Jordan et al., 2024) for some groups of parameters, AdamW (Loshchilov & Hutter, ICLR 2019) for the others.

    Muon makes each matrix's averaged gradient orthogonal, so that a step moves all its directions alike. Its steps are
    brought to the length of AdamW's (Liu et al., arXiv:2502.16982, equation 4), so that one learning rate suits both.

    Args:
        matrices: groups whose parameters are all [out, in]; with ``lr`` and ``weight_decay``.
        others: groups of every other parameter; with the same.
        betas: AdamW's. Muon's momentum is 0.95.
        fused: whether AdamW is one kernel.
    """

    def __init__(
        self,
        matrices: list[dict[str, Any]],
        others: list[dict[str, Any]],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        fused: bool = False,
    ) -> None:
        self._muon = Muon(matrices, adjust_lr_fn="match_rms_adamw")
        self._adamw = AdamW(others, betas=betas, fused=fused)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; the closure's value, where there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        at = 0
        for part in (self._muon, self._adamw):
            # groups and state are this optimiser's alone, which schedules change and checkpoints bring back
            part.param_groups, part.state = self.param_groups[at : at + len(part.param_groups)], self.state
            at += len(part.param_groups)
            part.step()  # type: ignore[no-untyped-call]  # torch has no hints there
        return loss
