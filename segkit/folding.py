"""BatchNorm after a convolution: which of them are alone together, and the two as one convolution."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from segkit.data.reader import Reader

PROBE = 64  # pixels a side of an image that shows which layers follow which

CONVOLUTIONS = (F.conv2d, torch.conv2d, F.conv_transpose2d, torch.conv_transpose2d)


def probe_of(reader: "Reader", device: torch.device) -> Tensor:
    """An empty image of ``PROBE`` pixels a side for a model with this reader, its depth measured everywhere.

    A depth backbone is asked only where something was measured.
    """
    probe = torch.zeros(1, reader.inputs, PROBE, PROBE, device=device)
    probe[:, reader.channels :] = 1
    return probe


def foldable(model: nn.Module, probe: Callable[[Any], object]) -> list[tuple[str, str]]:
    """Names of each convolution and of the BatchNorm that it alone leads to and that could be folded into it.

    Which these are is seen in a run of ``probe(model)``, so that a model's code may be what it likes: the norm reads
    what the convolution gave, nothing else does, and neither is used twice. The norms must be in evaluation mode.
    """
    with torch.no_grad(), _Watch() as watch:
        probe(model)
    named = ((name, getattr(module, "weight", None)) for name, module in model.named_modules())
    layers = {id(weight): name for name, weight in named if isinstance(weight, Tensor)}
    pairs = ((layers.get(id(convolution)), layers.get(id(norm))) for convolution, norm in watch.pairs())
    return [
        (convolution, norm)
        for convolution, norm in pairs
        if convolution is not None
        and norm is not None
        and _is_foldable(model.get_submodule(convolution), model.get_submodule(norm))
    ]


def fold_norms(
    model: nn.Module, probe: Callable[[Any], object], then: Callable[[nn.Module], None] = lambda _: None
) -> int:
    """Fold what is ``foldable``, in place, and do ``then`` to each new convolution; return how many norms that were."""
    pairs = foldable(model, probe)
    for first, second in pairs:
        convolution, norm = model.get_submodule(first), model.get_submodule(second)
        assert isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d)
        assert isinstance(norm, nn.BatchNorm2d)
        transposed = isinstance(convolution, nn.ConvTranspose2d)
        folded = fuse_conv_bn_eval(convolution, norm, transpose=transposed)
        then(folded)
        model.set_submodule(first, folded)
        model.set_submodule(second, nn.Identity())
    return len(pairs)


def _is_foldable(convolution: nn.Module, norm: nn.Module) -> bool:
    """Not a norm by each batch's own statistics, nor a transposed convolution in groups."""
    if type(norm) is not nn.BatchNorm2d or norm.training or norm.running_mean is None:
        return False
    if isinstance(convolution, nn.ConvTranspose2d):
        return convolution.groups == 1
    return isinstance(convolution, nn.Conv2d)


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
