"""A model in evaluation mode for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from segkit.prediction.protocol import Model


@contextmanager
def evaluating(model: Model | nn.Module) -> Iterator[None]:
    """The model in evaluation mode; afterwards every module of it is as it was, frozen ones too."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
