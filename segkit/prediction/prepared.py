"""A copy of a model that says the same, sooner: BatchNorm folded away, weights in the working precision."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from segkit.backbones.linear import Linear

AnyModel = TypeVar("AnyModel")

CONVOLUTIONS = (F.conv2d, torch.conv2d, F.conv_transpose2d, torch.conv_transpose2d)

LOW = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, Linear)
"""Layers that autocast computes in low precision: their weights may as well be kept in it."""


def prepared(model: AnyModel, probe: Callable[[Any], object], low: torch.dtype | None) -> AnyModel:
    """The model itself where nothing can be done for it, else a copy in evaluation mode that gives the same faster.

    What is not changed is shared with the model, so that the copy takes little memory. After changes to the model's
    weights make another.

    Args:
        model: on its device; anything that is no ``nn.Module`` is returned as it is.
        probe: calls a model on a small input.
        low: the precision that autocast will compute in; None for float32.
    """
    if not isinstance(model, nn.Module):
        return model
    kinds = {type(module) for module in model.modules()}
    folds = nn.BatchNorm2d in kinds and not kinds.isdisjoint((nn.Conv2d, nn.ConvTranspose2d))
    lows = low is not None and not kinds.isdisjoint(LOW)
    if not folds and not lows:
        return model
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    faster = copy.deepcopy(model, shared).eval()
    if folds:
        fold_norms(faster, probe)
    if lows:
        for module in faster.modules():
            if type(module) in LOW:
                for name, weights in module.named_parameters(recurse=False):
                    setattr(module, name, nn.Parameter(weights.detach().to(low), requires_grad=False))
    return faster


def fold_norms(model: nn.Module, probe: Callable[[Any], object]) -> int:
    """Fold each BatchNorm that a convolution alone leads to into its weights, in place; return how many.

    Which these are is seen in a run of ``probe(model)``, so that a model's code may be what it likes: the norm reads
    what the convolution gave, nothing else does, and neither is used twice.
    """
    with torch.no_grad(), _Watch() as watch:
        probe(model)
    named = ((name, getattr(module, "weight", None)) for name, module in model.named_modules())
    layers = {id(weight): name for name, weight in named if isinstance(weight, Tensor)}
    count = 0
    for convolution, norm in watch.pairs():
        names = layers.get(id(convolution)), layers.get(id(norm))
        if names[0] is None or names[1] is None:
            continue
        first, second = model.get_submodule(names[0]), model.get_submodule(names[1])
        folded = _folded(first, second)
        if folded is not None:
            model.set_submodule(names[0], folded)
            model.set_submodule(names[1], nn.Identity())
            count += 1
    return count


def _folded(convolution: nn.Module, norm: nn.Module) -> nn.Module | None:
    """The two as one convolution; None for a norm by each batch's own statistics, or a transposed one in groups."""
    if type(norm) is not nn.BatchNorm2d or norm.training or norm.running_mean is None:
        return None
    if isinstance(convolution, nn.ConvTranspose2d) and convolution.groups == 1:
        return fuse_conv_bn_eval(convolution, norm, transpose=True)
    return fuse_conv_bn_eval(convolution, norm) if isinstance(convolution, nn.Conv2d) else None


class _Watch(TorchFunctionMode):
    """Notes which convolution's result goes into which norm, by their weights, and how often each is used."""

    def __init__(self) -> None:
        super().__init__()
        self._given: dict[int, tuple[Tensor, Tensor]] = {}  # by result: the result, held, and the weight
        self._norms: list[tuple[int, Tensor]] = []  # the result it reads, and its weight
        self._uses: dict[int, int] = {}  # by tensor

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
            return result  # a size, a type: no use of what the tensor holds
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                self._uses[id(leaf)] = self._uses.get(id(leaf), 0) + 1
        if function in CONVOLUTIONS:
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            self._given[id(result)] = result, weight
            self._uses[id(result)] = 0  # whatever had this id before is gone
        elif function is F.batch_norm:
            read = args[0] if args else kwargs["input"]
            weight = args[3] if len(args) > 3 else kwargs.get("weight")
            if isinstance(weight, Tensor) and id(read) in self._given:
                self._norms.append((id(read), weight))
        return result

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Weights of each convolution and of its norm."""
        found = []
        for read, norm in self._norms:
            _, convolution = self._given[read]
            if self._uses[read] == self._uses[id(convolution)] == self._uses[id(norm)] == 1:
                found.append((convolution, norm))
        return found
