"""A model that says the same, sooner: BatchNorm folded away, weights in the working precision, compiled if asked."""

import copy
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from segkit.backbones.linear import Linear
from segkit.errors import UsageError
from segkit.folding import fold_norms
from segkit.one_line import one_line
from segkit.prediction.packed import PackedLinear
from segkit.statistics import PixelStatistics

AnyModel = TypeVar("AnyModel")

LOW = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, Linear)
"""Layers that autocast computes in low precision: their weights may as well be kept in it."""


def prepared(
    model: AnyModel,
    probe: Callable[[Any], object],
    low: torch.dtype | None,
    *,
    packs: bool = False,
    in_place: bool = False,
) -> AnyModel:
    """The model itself where nothing can be done for it, else a copy in evaluation mode that gives the same faster.

    What is not changed is shared with the model, so that the copy takes little memory. After changes to the model's
    weights make another.

    Args:
        model: on its device; anything that is no ``nn.Module`` is returned as it is.
        probe: calls a model on a small input.
        low: the precision that autocast will compute in; None for float32.
        packs: lay linear layers' weights in bfloat16 or float32 out for oneDNN as well; the copy is then for a CPU that
            ``has_onednn``, and isn't to be compiled.
        in_place: change the model itself, which nobody else wants: no copy, and no second set of weights at any time.
    """
    if not isinstance(model, nn.Module):
        return model
    kinds = {type(module) for module in model.modules()}
    folds = nn.BatchNorm2d in kinds and not kinds.isdisjoint((nn.Conv2d, nn.ConvTranspose2d))
    lows = low is not None and not kinds.isdisjoint(LOW)
    packs = packs and Linear in kinds and low in (None, torch.bfloat16)
    if not folds and not lows and not packs:
        return model
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    faster = (model if in_place else copy.deepcopy(model, shared)).eval()
    if folds:
        with suppress(Exception):  # a part from elsewhere may not take so small an image, and says so as it likes
            # Each is lowered as it is made: all made first, and then freed, would leave the heap full of holes.
            fold_norms(faster, probe, partial(_lower, low=low))
    if lows:
        for module in faster.modules():
            _lower(module, low)
    if packs:
        for name, module in list(faster.named_modules()):
            if type(module) is Linear and module.weight.dtype == (low or torch.float32):
                faster.set_submodule(name, PackedLinear(module))
    return faster


def channels_last(model: object) -> None:
    """Lay convolutions' weights out with channels last, in place: about twice as fast on CPUs and on tensor cores.

    Not by ``Module.to``, which would have volumes' kernels so, too, and fail.
    """
    for tensor in (*model.parameters(), *model.buffers()) if isinstance(model, nn.Module) else ():
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)


def _lower(module: nn.Module, low: torch.dtype | None) -> None:
    """Keep a layer's weights in the working precision, where autocast would cast them at every call."""
    if low is not None and type(module) in LOW:
        for name, weights in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(weights.detach().to(low), requires_grad=False))


def compiled(model: Any) -> Callable[[Tensor], PixelStatistics]:
    """``model.statistics`` as machine code, by ``torch.compile`` with the weights frozen into it.

    It is made in the first call, under ``torch.no_grad`` or inference mode, and anew for tiles of another size.

    Args:
        model: made ready by :func:`prepared`; what is done to it afterwards is not seen any more.

    Raises:
        UsageError: there is nothing to compile, or no compiler.
    """
    statistics: Callable[[Tensor], PixelStatistics] = model.statistics
    weights = next(iter(model.parameters()), None) if isinstance(model, nn.Module) else None
    if weights is None:
        raise UsageError("compile: there is nothing to compile; an exported model was when it was loaded: leave it out")
    device = weights.device
    try:
        torch.compile(torch.neg, options={"force_disable_caches": True})(torch.zeros(1, device=device))
    except Exception as error:  # whatever the compiler, or the lack of one, comes to
        raise UsageError(
            f"compile: PyTorch can't compile on this machine ({one_line(error)}); leave compile out"
        ) from error
    return torch.compile(statistics, options={"freezing": True})
