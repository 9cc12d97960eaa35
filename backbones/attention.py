"""Softmax attention inside windows, by PyTorch's fused kernel or, on CPUs, piece by piece in the cache."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

PIECE = 1 << 19  # attention weights computed at a time; with their gradients they stay in a processor's cache
SMALLEST_TOTAL = 1e-30  # of a row's exponentials that bfloat16 still holds exactly enough


def attend(qkv: Tensor, bias: Tensor) -> Tensor:
    """What tokens gather from their windows: softmax(query·keyᵀ / √d + bias)·value.

    Args:
        qkv: [B·windows, tokens, 3, heads, d].
        bias: [windows or 1, heads, tokens, tokens], the same for every image.

    Returns [B·windows, tokens, heads, d].

    PyTorch's fused kernel is used where it is quick: on a CPU it takes no bias that learns, and loses time below
    float32. Otherwise windows go through piece by piece, and the weights are computed again for the backward pass, not
    kept (as in Dao et al., FlashAttention, NeurIPS 2022): of all that a block keeps they are the most.
    """
    if torch.compiler.is_exporting():  # other runtimes fuse for themselves, and no size decides there
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each [B·windows, heads, tokens, d]
        gathered: Tensor = _logits(query, key, bias).softmax(-1) @ value
        return gathered.transpose(1, 2)
    exact = qkv.dtype in (torch.float32, torch.float64)
    if qkv.device.type != "cpu" or torch.compiler.is_compiling() or (exact and not bias.requires_grad):
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        if len(bias) > 1:
            bias = bias.repeat(len(qkv) // len(bias), 1, 1, 1)  # the kernels want one batch axis
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias).transpose(1, 2)
    if torch.is_grad_enabled():
        found: Tensor = _Attend.apply(qkv, bias)[0]
        return found
    return _forward(qkv, bias)


class _Attend(torch.autograd.Function):
    """Keeps what comes in, and of small windows the weights."""

    @staticmethod
    def forward(qkv: Tensor, bias: Tensor) -> tuple[Tensor, Tensor | None]:
        tokens, _, heads, channels = qkv.shape[1:]
        kept = qkv.new_empty(len(qkv), heads, tokens, tokens) if tokens <= channels else None
        return _forward(qkv, bias, kept), kept

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor | None]) -> None:
        if output[1] is not None:
            ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # what is kept has none
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, _of_kept: None) -> tuple[Tensor, Tensor]:
        qkv, bias, kept = ctx.saved_tensors
        of_qkv = torch.empty_like(qkv)
        of_bias = torch.zeros_like(bias, dtype=_exact(bias))  # a sum over many pieces
        for windows, places in _pieces(qkv, bias):
            weights = None if kept is None else kept[windows]
            of_qkv[windows] = _backward(gradient[windows], qkv[windows], bias[places], of_bias[places], weights)
        return of_qkv, of_bias.to(bias.dtype)


def _forward(qkv: Tensor, bias: Tensor, kept: Tensor | None = None) -> Tensor:
    """What tokens gather; their weights go to ``kept``, [B·windows, heads, tokens, tokens]."""
    gathered = torch.empty_like(qkv[:, :, 0])
    for windows, places in _pieces(qkv, bias):
        query, key, value = qkv[windows].permute(2, 0, 3, 1, 4).contiguous()
        if kept is None:
            weights, total = _unscaled_weights(query, key, bias[places])
        else:
            exactly = _logits(query, key, bias[places]).softmax(-1, _exact(qkv))
            weights, total = kept[windows].copy_(exactly), None
        found = weights @ value
        gathered[windows] = (found if total is None else found / total).transpose(1, 2)
    return gathered


def _backward(gradient: Tensor, qkv: Tensor, bias: Tensor, of_bias: Tensor, weights: Tensor | None) -> Tensor:
    """The gradient of some windows' qkv; that of their bias is added to ``of_bias``."""
    query, key, value = qkv.permute(2, 0, 3, 1, 4).contiguous()
    gradient = gradient.transpose(1, 2).contiguous()
    of_weights = gradient @ value.mT
    if weights is None:
        weights, total = _unscaled_weights(query, key, bias)
        weights = weights if total is None else (weights / total).to(weights.dtype)
        of_logits = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
    else:  # PyTorch's kernel takes short rows of bfloat16 thrice the time of float32's
        exact = of_bias.dtype
        of_logits = torch.ops.aten._softmax_backward_data(of_weights.to(exact), weights.to(exact), -1, exact)
    of_bias += of_logits.view(-1, *bias.shape).sum(0, dtype=of_bias.dtype)
    of_logits = of_logits.to(qkv.dtype)
    scale = qkv.shape[-1] ** -0.5
    own = torch.stack([(of_logits @ key).mul_(scale), (of_logits.mT @ query).mul_(scale), weights.mT @ gradient])
    return own.permute(1, 3, 0, 2, 4)


def _exact(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _unscaled_weights(query: Tensor, key: Tensor, bias: Tensor) -> tuple[Tensor, Tensor | None]:
    """Weights [B·windows, heads, tokens, tokens] and what each row is to be divided by; None where it adds up to 1.

    PyTorch's softmax of bfloat16 takes a CPU as long as both products together. The range of bfloat16 is float32's, so
    exponentials need no row's largest logit taken off first, unless logits are beyond ±69, which the sums tell.
    """
    if query.dtype == torch.bfloat16:
        weights = _logits(query, key, bias).exp_()
        total = weights.sum(-1, keepdim=True, dtype=torch.float32)
        least, most = total.aminmax()
        if least > SMALLEST_TOTAL and most < 1 / SMALLEST_TOTAL:
            return weights, total
    return _logits(query, key, bias).softmax(-1), None


def _logits(query: Tensor, key: Tensor, bias: Tensor) -> Tensor:
    products = (query @ key.transpose(2, 3)).view(-1, *bias.shape)
    logits = torch.add(bias, products, alpha=query.shape[-1] ** -0.5)
    return logits.view(query.shape[0], *bias.shape[1:])


def _pieces(qkv: Tensor, bias: Tensor) -> Iterator[tuple[slice, slice]]:
    """Windows of one image, or of several with the same bias, as slices of qkv, and the bias's that they take."""
    step = max(1, PIECE // bias[0].numel())
    if step >= len(bias):  # whole images: many small ones at a time
        step -= step % len(bias)
        for start in range(0, len(qkv), step):
            yield slice(start, start + step), slice(0, len(bias))
        return
    for image in range(0, len(qkv), len(bias)):
        for start in range(0, len(bias), step):
            end = min(start + step, len(bias))
            yield slice(image + start, image + end), slice(start, end)
