"""Stochastic depth: residual branches that are left out for random images while training (Huang et al., ECCV 2016)."""

from torch import Tensor, nn


class DropPath(nn.Module):
    """Zeros for a random share ``rate`` of the batch's rows while training, the rest scaled up to keep the mean.

    Args:
        rate: share of rows to drop, 0..1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """``x`` in eval mode; else ``x`` scaled or zero, row by row."""
        if not self.training or self.rate == 0:
            return x
        kept = 1 - self.rate
        rows = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(kept)
        return x * (rows / kept if kept > 0 else rows)

    def extra_repr(self) -> str:
        """The rate, for ``print(model)``."""
        return f"{self.rate:.3f}"
