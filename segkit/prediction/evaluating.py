"""A model in evaluation mode for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

from torch import nn

from segkit.prediction.protocol import Model

_lock = RLock()  # a generator that is collected may end here while its thread is inside
_inside: dict[int, tuple[nn.Module, int]] = {}  # modules that are to train again, and how many still evaluate them


@contextmanager
def evaluating(model: Model | nn.Module) -> Iterator[None]:
    """The model in evaluation mode; afterwards every module of it is as it was, frozen ones too.

    Of threads that do so at once the last one to end brings it back.
    """
    with _lock:
        held = [module for module in model.modules() if module.training or id(module) in _inside]
        for module in held:
            module.training = False
            _inside[id(module)] = module, _inside.get(id(module), (module, 0))[1] + 1
    try:
        yield
    finally:
        with _lock:
            for module in held:
                _, count = _inside.pop(id(module))
                if count > 1:
                    _inside[id(module)] = module, count - 1
                else:
                    module.training = True
