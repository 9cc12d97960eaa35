"""A question to a model asked all over an image, tile by tile, or over a volume, slice by slice."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.data.cases import Case
from segkit.precision import whole_float32
from segkit.prediction.at_once import AtOnce
from segkit.prediction.bands import Strips, bands
from segkit.prediction.computing import AUTOCAST, batch_for
from segkit.prediction.depth import zoomed
from segkit.prediction.evaluating import evaluating
from segkit.prediction.protocol import Model
from segkit.prediction.tiles import tile_origins
from segkit.prediction.volume_maps import tall_rows, volume_maps
from segkit.tta import TTA


@dataclass(frozen=True)
class Sweep:
    """How tiles are cut, computed and blended.

    Args:
        model: which is in evaluation mode meanwhile, and whose reader says how a second modality is zoomed.
        device: where tiles are computed.
        precision: in what.
        tile, overlap, tta: as of :class:`segkit.prediction.predictor.Predictor`.
        batches: tiles per forward pass.
        own_batch: whether that number follows from the tile's size, and changes where another size comes along.
        whole_rows: whether rows of tiles are handed on whole, for a function that cuts them into batches itself.
    """

    model: Model
    device: torch.device
    precision: str
    tile: int | None
    overlap: float
    tta: TTA
    batches: AtOnce
    own_batch: bool
    whole_rows: bool
    of_sides: dict[int, AtOnce] = field(default_factory=dict)  # for slices, by a tile's side

    def volume(self, function: Callable[[Tensor], Tensor], case: Case) -> Generator[NDArray[np.float32], None, None]:
        """Maps of a volume's voxels as those of one tall picture, [C', h, K] of I · J rows."""
        yield from tall_rows(volume_maps(partial(self._slices, function), case))

    def _slices(
        self, function: Callable[[Tensor], Tensor], pictures: Iterator[NDArray[np.float32]], size: tuple[int, int]
    ) -> Generator[NDArray[np.float32], None, None]:
        """Maps [C', H, W] of each of several pictures [H, W, C] of one size, several at a time."""
        side = max(min(self.tile or side, side) for side in size)
        batches = self.batches
        if self.own_batch:
            batches = self.of_sides.setdefault(side, AtOnce(batch_for(self.device, side)))
        while together := list(islice(pictures, batches.size)):
            stack = np.stack(together).transpose(0, 3, 1, 2)  # [B, C, H, W]
            strips = Strips(size, len(stack), partial(_rows_of, stack))
            yield from np.concatenate(list(self._strips(function, strips, batches)), axis=2)

    def picture(
        self,
        function: Callable[[Tensor], Tensor],
        rows: Callable[[int, int], NDArray[np.float32]],
        size: tuple[int, int],
    ) -> Generator[NDArray[np.float32], None, None]:
        """Maps [C', h, W] of one image whose rows are [h, W, C]."""

        def read(top: int, bottom: int) -> Tensor:
            pixels = np.ascontiguousarray(rows(top, bottom))
            return torch.from_numpy(pixels).permute(2, 0, 1)[None]  # [h, W, C] → [1, C, h, W]

        with closing(self._strips(function, Strips(size, 1, read), self.batches)) as found:
            for band in found:
                yield band[0]

    @torch.inference_mode()
    def _strips(
        self, function: Callable[[Tensor], Tensor], strips: Strips, batches: AtOnce
    ) -> Generator[NDArray[np.float32], None, None]:
        """Maps [B, C', h, W] of images of one size, from the top down."""
        low = AUTOCAST.get(self.precision)

        def ask(tiles: Tensor) -> Tensor:
            with (
                whole_float32(self.device) if self.precision == "fp32" else nullcontext(),
                torch.autocast(self.device.type, dtype=low, enabled=low is not None),
            ):
                return function(tiles.to(self.device, memory_format=torch.channels_last))

        if self.whole_rows:  # whole rows of tiles, which are cut into batches for each member anew
            side = min(self.tile or strips.size[1], strips.size[1])
            batches = AtOnce(strips.count * len(tile_origins(strips.size[1], side, self.overlap)))
        found = bands(
            ask,
            strips,
            tile=self.tile,
            overlap=self.overlap,
            batches=batches,
            tta=self.tta,
            resize=partial(zoomed, reader=self.model.reader),
            device=self.device,
        )
        with evaluating(self.model), closing(found):
            for band in found:
                yield band.cpu().numpy()


def _rows_of(stack: NDArray[np.float32], top: int, bottom: int) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(stack[:, :, top:bottom]))
