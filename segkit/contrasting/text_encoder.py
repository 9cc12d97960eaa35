"""Text encoders: what every one offers, and a small Transformer that is trained from nothing."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.contrasting.tokens import Tokenizer, Tokens
from segkit.errors import UsageError


class TextEncoder(nn.Module, ABC):
    """Map texts to one vector each; any subclass can be trained beside an image backbone.

    Attributes:
        width: length of the vector.
        length: tokens of a text at most; what is beyond is cut off.
    """

    width: int
    length: int

    @abstractmethod
    def tokenize(
        self, texts: Sequence[str], *, spell: float = 0.0, generator: np.random.Generator | None = None
    ) -> Tokens:
        """Texts as numbers, on the CPU.

        Args:
            spell: share of the words that are spelt in parts while training, where the encoder can do that.
            generator: what that is drawn from.
        """

    @abstractmethod
    def forward(self, tokens: Tokens) -> Tensor:
        """One vector a text, float [B, width]; padding changes nothing."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Its name and all else, besides the weights, that it is built from again: JSON."""

    @abstractmethod
    def cut(self, texts: Sequence[str]) -> int:
        """How many texts are longer than the encoder reads."""


class TextTransformer(TextEncoder):
    """A Transformer that reads a whole text at once; the mean over its tokens is the text's vector [B, width].

    Pre-norm blocks (as in CLIP's text tower, Radford et al., 2021) with attention in both directions, since a caption
    is there as a whole, and learned positions.

    Args:
        tokenizer: fitted on the training captions.
        width: of every token and of the result.
        depth: number of blocks.
        heads: of attention; they divide the width.

    Raises:
        UsageError: a width that the heads don't divide.
    """

    def __init__(self, tokenizer: Tokenizer, *, width: int = 256, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        if width < 1 or heads < 1 or depth < 1 or width % heads:
            raise UsageError(f"text encoder: width {width}, depth {depth}, heads {heads}; heads must divide the width")
        self.tokenizer, self.width, self.length, self.heads = tokenizer, width, tokenizer.length, heads
        self.token = nn.Embedding(len(tokenizer), width)
        self.position = nn.Parameter(torch.empty(tokenizer.length, width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.token.weight, std=0.02)
        nn.init.normal_(self.position, std=0.01)

    def tokenize(
        self, texts: Sequence[str], *, spell: float = 0.0, generator: np.random.Generator | None = None
    ) -> Tokens:
        """Texts as known words and bytes; see :class:`Tokenizer`."""
        return self.tokenizer(texts, spell=spell, generator=generator)

    def forward(self, tokens: Tokens) -> Tensor:
        """One vector a text, float [B, width]."""
        ids, mask = tokens
        x = self.token(ids) + self.position[: ids.shape[1]]  # [B, T, width]
        for block in self.blocks:
            x = block(x, mask)
        return mean_of(self.norm(x), mask)

    def description(self) -> dict[str, Any]:
        """Its sizes and its vocabulary."""
        return {
            "name": "transformer",
            "width": self.width,
            "depth": len(self.blocks),
            "heads": self.heads,
            "length": self.tokenizer.length,
            "words": list(self.tokenizer.words),
        }

    def cut(self, texts: Sequence[str]) -> int:
        """How many texts are longer than the tokenizer's length."""
        return sum(map(self.tokenizer.cuts, texts))


class _Block(nn.Module):
    """Attention among a text's tokens, then a perceptron on each of them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        qkv = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)  # [B, heads, T, d] each
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


def mean_of(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens that are there: [B, T, C], bool [B, T] → [B, C]."""
    weight = mask.unsqueeze(2).to(x.dtype)
    return (x * weight).sum(1) / weight.sum(1)
