"""A linear layer that takes the faster of PyTorch's two CPU paths: the same numbers up to rounding, sooner."""

import time
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """``nn.Linear``, run on a CPU as a 1×1 convolution where this machine is faster at that: [..., in] → [..., out].

    A matrix product goes to the BLAS library, a convolution to oneDNN, and which has the better float32 code depends on
    the processor. Rows of tokens already lie in memory as a channels-last image, so nothing is copied for it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output, [..., out]."""
        plain = (
            x.device.type == "cpu"
            and x.dtype == torch.float32
            and not (torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"))
            and not torch.are_deterministic_algorithms_enabled()  # a stopwatch must not choose the bits then
        )
        if plain and x.numel() and convolution_is_faster():
            return _as_convolution(x, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias)


@cache
def convolution_is_faster() -> bool:
    """Whether a float32 1×1 convolution clearly beats the matrix product here; measured once, in some milliseconds."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch has no hints there
        return False
    with torch.inference_mode():
        tokens, weight, bias = torch.ones(4096, 192), torch.ones(384, 192), torch.ones(384)
        matrix = _best_time(lambda: F.linear(tokens, weight, bias))
        convolution = _best_time(lambda: _as_convolution(tokens, weight, bias))
    return convolution < 0.8 * matrix  # a clear lead, so that the answer is the same each time on one machine


def _as_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    image = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)  # [1, in, tokens, 1], channels last
    y = F.conv2d(image, weight[:, :, None, None], bias)
    return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], weight.shape[0])


def _best_time(work: Callable[[], Tensor], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
