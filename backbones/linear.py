"""A linear layer that takes the faster of PyTorch's two CPU paths, and keeps little for the backward pass."""

import math
import sys
import time
from functools import cache
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# The processor's own time says most on a machine that is busy with other work; Windows counts it in steps too large.
CLOCK = time.perf_counter if sys.platform == "win32" else time.process_time


class Linear(nn.Linear):
    """``nn.Linear``, run on a CPU as a 1×1 convolution where this machine is faster at that: [..., in] → [..., out].

    A matrix product goes to the BLAS library, a convolution to oneDNN, and which has the better float32 code depends on
    the processor. Rows of tokens already lie in memory as a channels-last image, so nothing is copied for it.

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
        if x.device.type != "cpu" or torch.compiler.is_compiling() or not x.numel():
            return F.linear(F.gelu(x) if gelu else x, self.weight, self.bias)
        packed = self._packed(x)
        if packed is not None:
            return packed_product(F.gelu(x) if gelu else x, *packed)
        plain = (
            x.dtype == self.weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and not torch.are_deterministic_algorithms_enabled()  # a stopwatch must not choose the bits then
        )
        convolve = plain and convolution_is_faster()
        if torch.is_grad_enabled() and (convolve or gelu):
            product: Tensor = _Product.apply(x, self.weight, self.bias, gelu, convolve)
            return product
        return _forward(x, self.weight, self.bias, gelu, convolve)

    def train(self, mode: bool = True) -> Self:
        """Train or evaluate from here on, forgetting what was kept."""
        self._kept = None
        return super().train(mode)

    def _packed(self, x: Tensor) -> tuple[Tensor, Tensor | None] | None:
        """Weight and bias in bfloat16 as oneDNN wants them; None where they may learn or another precision is meant.

        What is kept holds for one state of the weights, which other writes than through ``Tensor.data`` change.
        """
        weight, bias = self.weight, self.bias
        if (
            self.training
            or torch.is_grad_enabled()
            or x.device.type != "cpu"
            or not x.numel()
            or torch.compiler.is_compiling()
            or not (torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16)
            or not isinstance(weight, nn.Parameter)  # functional_call swaps in tensors
            or weight.is_inference()
            or weight.grad is not None
            or not has_onednn(weight.device)
        ):
            return None
        state = (id(weight), weight._version, weight.data_ptr(), bias is not None and (id(bias), bias._version))
        kept = self._kept
        if kept is None or kept[0] != state:
            low = None if bias is None else bias.detach().to(torch.bfloat16)
            kept = self._kept = (state, pack(weight), low)
        return kept[1], kept[2]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}  # copies and pickles start without what was kept


ROWS = 4096  # of the products for which oneDNN is to choose the layout; a Swin has as many or more on usual pictures


@cache
def has_onednn(device: torch.device) -> bool:
    """Whether PyTorch computes by oneDNN there."""
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch has no hints there
    return device.type == "cpu" and bool(there)


def pack(weight: Tensor) -> Tensor:
    """A linear layer's weight in bfloat16, laid out as oneDNN computes with it."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(torch.bfloat16), ROWS)
    return packed


def packed_product(x: Tensor, packed: Tensor, bias: Tensor | None, *, gelu_after: bool = False) -> Tensor:
    """The linear layer of weights that :func:`pack` laid out, to the last bit as without; or its GELU."""
    rows: Tensor = torch.ops.mkldnn._linear_pointwise(
        x.to(torch.bfloat16), packed, bias, *(("gelu", [], "none") if gelu_after else ("none", [], ""))
    )
    return rows


@cache
def convolution_is_faster() -> bool:
    """Whether a float32 1×1 convolution clearly beats the matrix product here; measured once, in some milliseconds."""
    if not has_onednn(torch.device("cpu")):
        return False
    seconds = {True: math.inf, False: math.inf}
    with torch.inference_mode():
        tokens, weight, bias = torch.ones(1024, 192), torch.ones(384, 192), torch.ones(384)
        for _ in range(20):  # in turns, and each short, so that on a busy machine some are hardly disturbed
            for convolve in seconds:
                start = CLOCK()
                _forward(tokens, weight, bias, gelu=False, convolve=convolve)
                seconds[convolve] = min(seconds[convolve], CLOCK() - start)
    return seconds[True] < 0.8 * seconds[False]  # a clear lead, so that the answer is the same each time


class _Product(torch.autograd.Function):
    """The layer with a backward pass of its own: GELU is computed again, the bias's gradient is a plain sum.

    oneDNN takes up to half as long again where it is asked for the bias's gradient too.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool, convolve: bool) -> Tensor:
        return _forward(x, weight, bias, gelu, convolve)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        x, weight, _, ctx.gelu, ctx.convolve = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias, *_ = ctx.needs_input_grad
        layer_input = F.gelu(x) if ctx.gelu else x
        x_gradient, weight_gradient = _backward(gradient, layer_input, weight, ctx.convolve, (for_x, for_weight))
        if x_gradient is not None and ctx.gelu:
            x_gradient = torch.ops.aten.gelu_backward(x_gradient, x)
        bias_gradient = gradient.flatten(0, -2).sum(0, dtype=weight.dtype) if for_bias else None
        return x_gradient, weight_gradient, bias_gradient, None, None


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool, convolve: bool) -> Tensor:
    x = F.gelu(x) if gelu else x
    if not convolve:
        return F.linear(x, weight, bias)
    y = F.conv2d(_as_image(x), weight[:, :, None, None], bias)
    return _as_rows(y).reshape(*x.shape[:-1], weight.shape[0])


def _backward(
    gradient: Tensor, x: Tensor, weight: Tensor, convolve: bool, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of the input and of the weight, those that are wanted."""
    if convolve:
        image, kernel = _as_image(x), weight[:, :, None, None]
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            _as_image(gradient), image, kernel, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [*wanted, False]
        )
        return (
            _as_rows(of_x).reshape(x.shape) if wanted[0] else None,
            of_weight.reshape(weight.shape) if wanted[1] else None,
        )
    low = gradient.dtype  # under autocast that of the product, not of the weight
    of_x = (gradient @ weight.to(low)).to(x.dtype) if wanted[0] else None
    rows = gradient.flatten(0, -2)
    of_weight = (rows.T @ x.flatten(0, -2).to(low)).to(weight.dtype) if wanted[1] else None
    return of_x, of_weight


def _as_image(rows: Tensor) -> Tensor:
    """[..., C] → [1, C, rows, 1], channels last, without a copy."""
    return rows.reshape(1, -1, 1, rows.shape[-1]).permute(0, 3, 1, 2)


def _as_rows(image: Tensor) -> Tensor:
    """[1, C, rows, 1] → [1, rows, 1, C]."""
    return image.permute(0, 2, 3, 1)
