"""How many images, or tiles, a device takes at a time: fewer once its memory was too small."""

from collections.abc import Callable

import torch
from torch import Tensor

from segkit.errors import UsageError

Ask = Callable[[Tensor], Tensor]
"""A question to a model: tiles [b, C, h, w] → maps [b, C', h, w], in the tiles' order."""


class AtOnce:
    """Asks a model about so many tiles at a time; fewer from then on where the device's memory doesn't hold them.

    Attributes:
        size: tiles at a time.
    """

    def __init__(self, size: int) -> None:
        if type(size) is not int or size < 1:
            raise UsageError(f"batch={size!r}: expected 1 or more tiles at a time")
        self.size = size

    def ask(self, function: Ask, tiles: Tensor) -> Tensor:
        """``function`` of all the tiles.

        Raises:
            torch.OutOfMemoryError: not even one tile fits.
        """
        while True:
            size = self.size  # another thread may halve it meanwhile
            try:
                return torch.cat([function(tiles[start : start + size]) for start in range(0, len(tiles), size)])
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
            self.size = min(self.size, (size + 1) // 2)
            torch.cuda.empty_cache()
