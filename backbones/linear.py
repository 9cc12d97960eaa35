"""A linear layer that takes the faster of PyTorch's two CPU paths, and keeps little for the backward pass."""

import math
import sys
import time
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# The processor's own time says most on a machine that is busy with other work; Windows counts it in steps too large.
CLOCK = time.perf_counter if sys.platform == "win32" else time.process_time


class Linear(nn.Linear):
    """``nn.Linear``, run on a CPU as a 1×1 convolution where this machine is faster at that: [..., in] → [..., out].

    A matrix product goes to the BLAS library, a convolution to oneDNN, and which has the better float32 code depends on
    the processor. Rows of tokens already lie in memory as a channels-last image, so nothing is copied for it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output, [..., out]."""
        return self._product(x, gelu=False)

    def of_gelu(self, x: Tensor) -> Tensor:
        """The same as ``self(F.gelu(x))``; on a CPU only ``x`` is kept for the backward pass, not its GELU as well."""
        return self._product(x, gelu=True)

    def _product(self, x: Tensor, *, gelu: bool) -> Tensor:
        if x.device.type != "cpu" or torch.compiler.is_compiling() or not x.numel():
            return F.linear(F.gelu(x) if gelu else x, self.weight, self.bias)
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


@cache
def convolution_is_faster() -> bool:
    """Whether a float32 1×1 convolution clearly beats the matrix product here; measured once, in some milliseconds."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch has no hints there
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
