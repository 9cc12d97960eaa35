"""Captions as numbers: known words as one token each, all others spelt in bytes. Works offline, in any language."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from segkit.errors import UsageError

PADDING, START, BYTES = 0, 1, 2  # ids; bytes 0..255 follow from 2 on, words after them
WORDS = BYTES + 256
SEEN = 2  # times that a word must be seen to be known: one seen once teaches little, its letters more
PIECE = re.compile(r"\w+|[^\w\s]")


class Tokens(NamedTuple):
    """Texts of one batch.

    Attributes:
        ids: int64 [B, T], padded at the right.
        mask: bool [B, T], true where there is a token; in every row at the first place at least.
    """

    ids: Tensor
    mask: Tensor

    def to(self, device: torch.device | str) -> "Tokens":
        """The same on another device."""
        waits = torch.device(device).type != "cuda"
        return Tokens(self.ids.to(device, non_blocking=not waits), self.mask.to(device, non_blocking=not waits))


class Tokenizer:
    """Turn texts into :class:`Tokens`; make one with :meth:`fit`.

    A text is brought to one spelling (Unicode NFKC, no capitals) and cut into words and punctuation marks. A known word
    is one token. Any other is a space and its UTF-8 bytes, so that nothing is lost, and words that share letters share
    tokens. Scripts without spaces are spelt throughout.

    Args:
        words: the known words, in the order of their ids.
        length: tokens of a text at most, its start among them; what is beyond is cut off.
    """

    def __init__(self, words: Sequence[str], *, length: int = 64) -> None:
        if length < 2:
            raise UsageError(f"length={length}: a text of fewer than 2 tokens says nothing")
        self.words, self.length = tuple(words), length
        self._ids = {word: WORDS + number for number, word in enumerate(self.words)}
        if len(self._ids) < len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise UsageError(f"the word {twice!r} is in the vocabulary twice")

    @classmethod
    def fit(cls, texts: Iterable[str], *, size: int = 8192, length: int = 64) -> "Tokenizer":
        """A tokenizer that knows the words seen twice or more in these texts, the ``size`` most frequent at most."""
        counts = Counter(piece for text in texts for piece in pieces(text))
        often = [word for word in sorted(counts) if counts[word] >= SEEN]
        often.sort(key=counts.__getitem__, reverse=True)  # of equals, in the order of the alphabet
        return cls(often[:size], length=length)

    def __len__(self) -> int:
        """How many different tokens there are."""
        return WORDS + len(self.words)

    def __call__(
        self, texts: Sequence[str], *, spell: float = 0.0, generator: np.random.Generator | None = None
    ) -> Tokens:
        """Tokens of texts, padded to the longest of them.

        Args:
            texts: an empty one is its start alone.
            spell: share of the known words that are spelt all the same, drawn anew each time. In training it teaches
                what bytes mean, on which unknown words then rest (as BPE-dropout does: Provilkov et al., ACL 2020).
            generator: to draw from; needed where ``spell`` is above 0.
        """
        return padded([self._row(text, spell, generator)[: self.length] for text in texts], PADDING)

    def cuts(self, text: str) -> bool:
        """Whether a text is longer than ``length``."""
        return len(self._row(text)) > self.length

    def _row(self, text: str, spell: float = 0.0, generator: np.random.Generator | None = None) -> list[int]:
        row = [START]
        for piece in pieces(text):
            known = self._ids.get(piece)
            if known is not None and spell and generator is not None and generator.random() < spell:
                known = None
            row += [BYTES + byte for byte in f" {piece}".encode(errors="replace")] if known is None else [known]
        return row


def padded(rows: Sequence[Sequence[int]], padding: int) -> Tokens:
    """Tokens of rows that have one or more each, brought to the length of the longest."""
    longest = max(map(len, rows), default=1)
    ids = torch.full((len(rows), longest), padding)
    for row, found in zip(ids, rows, strict=True):
        row[: len(found)] = torch.tensor(found)
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    return Tokens(ids, torch.arange(longest) < lengths[:, None])


def pieces(text: str) -> list[str]:
    """Words and punctuation marks of a text, in one spelling.

    >>> pieces("A photo of the Dog's ﬁrst day.")
    ['a', 'photo', 'of', 'the', 'dog', "'", 's', 'first', 'day', '.']
    """
    return PIECE.findall(unicodedata.normalize("NFKC", text).casefold())
