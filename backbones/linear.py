"""A linear layer that takes the faster of PyTorch's CPU paths, and keeps little for the backward pass."""

import math
import sys
import time
from functools import cache
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

# The processor's own time says most on a machine that is busy with other work; Windows counts it in steps too large.
CLOCK = time.perf_counter if sys.platform == "win32" else time.process_time


class Linear(nn.Linear):
    """``nn.Linear``, run on a CPU by oneDNN where that is there, in float32 too: [..., in] → [..., out].

    PyTorch leaves float32 to its BLAS library, which is slower at such sizes, much so on some processors.

    In bfloat16, while nothing can learn, the weights are kept as oneDNN computes with them, so that no call has to cast
    and reorder them.
    """

    _kept: tuple[tuple[Any, ...], Tensor, Tensor | None] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output, [..., out]."""
        return self._product(x, gelu=False)

    def fused_gelu(self, x: Tensor) -> Tensor | None:
        """``F.gelu(self(x))`` in one pass over memory; None where the weights aren't kept laid out for that."""
        packed = self._packed(x)
        return None if packed is None else packed_product(x, *packed, gelu_after=True)

    def of_gelu(self, x: Tensor) -> Tensor:
        """The same as ``self(F.gelu(x))``; on a CPU only ``x`` is kept for the backward pass, not its GELU as well."""
        return self._product(x, gelu=True)

    def _product(self, x: Tensor, *, gelu: bool) -> Tensor:
        if not _computes(x):
            return F.linear(F.gelu(x) if gelu else x, self.weight, self.bias)
        packed = self._packed(x)
        if packed is not None:
            return packed_product(F.gelu(x) if gelu else x, *packed)
        by_onednn = _precision(x, self.weight) is torch.float32 and has_onednn(x.device)
        if torch.is_grad_enabled() and (by_onednn or gelu):
            product: Tensor = _Product.apply(x, self.weight, self.bias, gelu, by_onednn)
            return product
        return _forward(x, self.weight, self.bias, gelu, by_onednn)

    def train(self, mode: bool = True) -> Self:
        """Train or evaluate from here on, forgetting what was kept."""
        self._kept = None
        return super().train(mode)

    def _packed(self, x: Tensor) -> tuple[Tensor, Tensor | None] | None:
        """Weight and bias in bfloat16 as oneDNN wants them; None where they may learn or another precision is meant.

        What is kept holds for one state of the weights, which other writes than through ``Tensor.data`` change. A fused
        optimiser's step changes none either, so nothing is kept across ``train`` or a call with gradients. The tensors
        are held, so that no other can come to lie at their address.
        """
        weight, bias = self.weight, self.bias
        if self.training or torch.is_grad_enabled() or weight.grad is not None:
            self._kept = None
            return None
        if (
            not _computes(x)
            or _precision(x, weight) is not torch.bfloat16
            or not isinstance(weight, nn.Parameter)  # functional_call swaps in tensors
            or weight.is_inference()
            or (bias is not None and bias.is_inference())
            or not has_onednn(weight.device)
        ):
            return None
        state = tuple((each, each._version, each.data_ptr()) for each in (weight, bias) if each is not None)
        kept = self._kept
        if kept is None or not _same(kept[0], state):
            held = tuple((*each, each[0].detach()) for each in state)
            low = None if bias is None else bias.detach().to(torch.bfloat16)
            kept = self._kept = held, pack(weight.detach().to(torch.bfloat16)), low
        return kept[1:]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}  # copies and pickles start without what was kept


def _same(kept: tuple[Any, ...], state: tuple[Any, ...]) -> bool:
    """Whether it is the same tensors, unwritten and where they were."""
    pairs = zip(kept, state, strict=True) if len(kept) == len(state) else ()
    return len(kept) == len(state) and all(old[0] is new[0] and old[1:3] == new[1:3] for old, new in pairs)


def _computes(x: Tensor) -> bool:
    """Whether products are computed on a CPU now: not traced, transformed, or told to a counter of operations.

    All those know what a linear layer is, and not what oneDNN's is.
    """
    return (
        x.device.type == "cpu"
        and x.numel() > 0
        and not torch.compiler.is_compiling()
        and not torch._C._get_tracing_state()
        and not is_in_torch_dispatch_mode()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


ROWS = 4096  # of the products for which oneDNN is to choose the layout; a Swin has as many or more on usual pictures


@cache
def has_onednn(device: torch.device) -> bool:
    """Whether PyTorch computes by oneDNN there."""
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch has no hints there
    return device.type == "cpu" and bool(there)


def _precision(x: Tensor, weight: Tensor) -> torch.dtype | None:
    """What the product is to be computed in, where oneDNN is the better at that: bfloat16 by autocast, or float32."""
    if torch.is_autocast_enabled("cpu"):
        low = torch.get_autocast_dtype("cpu") == torch.bfloat16 and torch.float64 not in (x.dtype, weight.dtype)
        return torch.bfloat16 if low else None
    return torch.float32 if x.dtype == weight.dtype == torch.float32 else None


def pack(weight: Tensor) -> Tensor:
    """A linear layer's weight, bfloat16 or float32, laid out as oneDNN computes with it."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)
    return packed


def packed_product(x: Tensor, packed: Tensor, bias: Tensor | None, *, gelu_after: bool = False) -> Tensor:
    """The linear layer of weights that :func:`pack` laid out, to the last bit as without; or its GELU."""
    rows: Tensor = torch.ops.mkldnn._linear_pointwise(
        x.to(packed.dtype), packed, bias, *(("gelu", [], "none") if gelu_after else ("none", [], ""))
    )
    return rows


@cache
def convolution_is_faster() -> bool:
    """Whether a convolution clearly beats the BLAS library at a weight's gradient here; measured once, in milliseconds.

    It does on processors for which the library has no code of their own.
    """
    seconds = {True: math.inf, False: math.inf}
    rows, gradient, weight = torch.ones(1024, 192), torch.ones(1024, 384), torch.ones(384, 192)
    for _ in range(20):  # in turns, and each short, so that on a busy machine some are hardly disturbed
        for convolve in seconds:
            start = CLOCK()
            _of_weight(gradient, rows, weight, convolve)
            seconds[convolve] = min(seconds[convolve], CLOCK() - start)
    return seconds[True] < 0.8 * seconds[False]  # a clear lead, so that the answer is the same each time


class _Product(torch.autograd.Function):
    """The layer with a backward pass of its own: GELU is computed again, the bias's gradient is a plain sum.

    oneDNN takes up to half as long again where it is asked for the bias's gradient too.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool, by_onednn: bool) -> Tensor:
        return _forward(x, weight, bias, gelu, by_onednn)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        x, weight, _, ctx.gelu, ctx.by_onednn = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias, *_ = ctx.needs_input_grad
        gradient = gradient.contiguous()
        of_x = of_weight = of_bias = None
        if for_x:
            turned = weight.T.to(gradient.dtype)  # under autocast the gradient's is that of the product
            of_x = (_by_onednn(gradient, turned, None) if ctx.by_onednn else F.linear(gradient, turned)).to(x.dtype)
            of_x = torch.ops.aten.gelu_backward(of_x, x) if ctx.gelu else of_x
        if for_weight:
            # A stopwatch must not choose the bits in deterministic mode.
            convolve = ctx.by_onednn and not torch.are_deterministic_algorithms_enabled() and convolution_is_faster()
            of_weight = _of_weight(gradient, F.gelu(x) if ctx.gelu else x, weight, convolve)
        if for_bias:
            of_bias = gradient.reshape(-1, gradient.shape[-1]).sum(0, dtype=weight.dtype)
        return of_x, of_weight, of_bias, None, None


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool, by_onednn: bool) -> Tensor:
    x = F.gelu(x) if gelu else x
    return _by_onednn(x, weight, bias) if by_onednn else F.linear(x, weight, bias)


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, convolve: bool) -> Tensor:
    """The gradient of a weight [out, in], from the product's and from what the layer was given."""
    if convolve:  # rows of tokens already lie in memory as a channels-last image
        images = (rows.reshape(1, -1, 1, rows.shape[-1]).permute(0, 3, 1, 2) for rows in (gradient, x))
        kernel: Tensor = torch.ops.aten.convolution_backward(
            *images, weight[:, :, None, None], None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [False, True, False]
        )[1]
        return kernel.reshape(weight.shape)
    rows, inputs = (each.reshape(-1, each.shape[-1]) for each in (gradient, x))
    return (rows.T @ inputs.to(rows.dtype)).to(weight.dtype)
