"""Images that are small at first and grow: most is learnt from little of each image, in a fraction of the time.

Progressive resizing, as in EfficientNetV2's training (Tan & Le, ICML 2021, section 4.2), without its growing
regularisation.
"""

from typing import TYPE_CHECKING

from pydantic import Field

from segkit.sections import Side, Strict

if TYPE_CHECKING:
    from torch import Tensor

STEP = 8  # pixels: few sizes, each of which the networks cover with whole patches


class Growth(Strict):
    """From which size on images grow to the recipe's own."""

    start: Side = Field(description="longer side of the images at the beginning")
    until: float = Field(0.6, gt=0, le=1, description="share of the run after which images have their whole size")

    def size_at(self, progress: float, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width that images of a size are shown at, the same in each of equal parts of the run.

        Args:
            progress: share of the run that is done, 0..1.
            size: the whole one.
        """
        longest = max(size)
        sides = [*range(self.start, longest, STEP), longest]
        if self.start >= longest or progress >= self.until:
            return size
        side = sides[int(progress / self.until * (len(sides) - 1))]
        height, width = (max(1, round(each * side / longest)) for each in size)
        return height, width

    def grown(self, image: "Tensor", progress: float) -> "Tensor":
        """Images [B, C, H, W] as they are shown when so much of the run is done."""
        whole = image.shape[-2], image.shape[-1]
        size = self.size_at(progress, whole)
        if size == whole:
            return image
        import torch

        from segkit.data.resize import shrunk_or_enlarged

        return shrunk_or_enlarged(image, size).contiguous(memory_format=torch.channels_last)
