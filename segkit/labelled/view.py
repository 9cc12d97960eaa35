"""What evaluation and prediction see of an image: its centre, at the model's size."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from segkit.errors import UsageError
from segkit.sections import Side

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 128
"""Sides below this are of small images, which are shown whole."""


class View(BaseModel):
    """The centre of an image, as float32 [C, h, w] in 0..1.

    The image is resized (bilinear, antialiased, in bytes as torchvision does it) so that it just covers
    ``size / share``; of that the centre is cut out. So 0.875 and 224 are the usual 256 and 224 of ImageNet.

    Args:
        size: (height, width) of what comes out.
        share: of the shorter side that is seen; 1 for small images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[Side, Side] = Field(description="[height, width] that the model is given")
    share: float = Field(1.0, gt=0, le=1, description="of the shorter side that is seen: 0.875 is usual on ImageNet")

    @classmethod
    def usual(cls, size: tuple[int, int]) -> "View":
        """The view that is usual at a size: 0.875 of the shorter side from 128 pixels on, all of it below."""
        return cls(size=size, share=1.0 if min(size) < SMALL else 0.875)

    def pixels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What is seen of an image uint8 [H, W, C]: uint8 [h, w, C].

        Raises:
            UsageError: it is no such image.
        """
        import torch
        from torchvision.transforms.v2 import functional

        if image.ndim != 3 or image.dtype != np.uint8 or not image.size:
            raise UsageError(f"an image is uint8 [H, W, C]; found {image.dtype} {list(image.shape)}")
        if image.shape[:2] == self.size and self.share == 1:
            return image
        height, width = self._resized(*image.shape[:2])
        planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        planes = functional.resize(planes, [height, width], antialias=True)
        seen = functional.center_crop(planes, list(self.size))
        return np.ascontiguousarray(seen.permute(1, 2, 0).numpy())

    def __call__(self, image: NDArray[np.uint8]) -> "Tensor":
        """What is seen of an image uint8 [H, W, C]: float32 [C, h, w] in 0..1."""
        import torch

        planes = np.ascontiguousarray(self.pixels(image).transpose(2, 0, 1))
        return torch.from_numpy(np.divide(planes, 255, dtype=np.float32))

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """The size that an image is brought to before the centre is cut out."""
        rows, columns = (round(side / self.share) for side in self.size)
        if height * columns <= width * rows:  # the height decides
            return rows, max(columns, rows * width // height)
        return max(rows, columns * height // width), columns
