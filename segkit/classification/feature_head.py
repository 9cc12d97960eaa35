"""The head of early fusion: class logits from several inputs' features, side by side."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segkit.errors import UsageError

HIDDEN, DROPOUT = 256, 0.2
STILL = 1e-6  # a feature that deviates less counts as one that never changes


class FeatureHead(nn.Module):
    """Logits float [B, K] of features [B, D] of one input or more; build and train it as ``widths`` says.

    Features are normalised, each by its own mean and deviation, concatenated, and read by one hidden layer, or none.

    Args:
        widths: the D of each input.
        classes: K.
        hidden: width of the hidden layer; 0 for none. Without it each input adds its own share to the logits, and
            nothing that lies in two inputs together is found.
        dropout: share of the features, and of the hidden layer, that is dropped in training.

    Raises:
        UsageError: numbers out of range.
    """

    def __init__(self, widths: Sequence[int], classes: int, *, hidden: int = HIDDEN, dropout: float = DROPOUT) -> None:
        super().__init__()
        if not widths or min(widths) < 1 or classes < 1 or hidden < 0 or not 0 <= dropout < 1:
            raise UsageError(
                f"widths={list(widths)}, classes={classes}, hidden={hidden}, dropout={dropout:g}: expected widths and "
                "classes of 1 or more, hidden of 0 or more, dropout from 0 to below 1"
            )
        self.widths, self.classes, self.hidden, self.dropout = tuple(widths), classes, hidden, dropout
        self.normalise = nn.ModuleList(Standardise(width) for width in widths)
        layers = [nn.Dropout(dropout), nn.Linear(sum(widths), hidden), nn.GELU()] if hidden else []
        self.read = nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(hidden or sum(widths), classes))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Logits float [B, K] of each input's features [B, D]."""
        together = [norm(each) for norm, each in zip(self.normalise, features, strict=True)]
        logits: Tensor = self.read(torch.cat(together, dim=1))  # [B, ΣD] → [B, K]
        return logits

    def measure(self, features: Sequence[Tensor]) -> None:
        """Take the mean and deviation that features are normalised by of each input's [N, D]."""
        for norm, each in zip(self.normalise, features, strict=True):
            assert isinstance(norm, Standardise)
            norm.measure(each)


class Standardise(nn.Module):
    """Features less their mean, over their deviation, as measured once; before that as they are."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, D], normalised."""
        return (features - self.mean) / self.std

    def measure(self, features: Tensor) -> None:
        """Take mean and deviation of features [N, D]; what never changes is divided by 1."""
        self.mean.copy_(features.mean(0))
        deviation = features.std(0, correction=0)
        self.std.copy_(torch.where(deviation > STILL, deviation, torch.ones_like(deviation)))
