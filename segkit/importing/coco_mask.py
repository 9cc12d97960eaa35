"""A mask drawn from the outlines of a picture's objects."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from segkit.data.claims import LIMIT
from segkit.data.masks import IGNORE
from segkit.errors import DataError
from segkit.importing.coco_shapes import Inside, Patch, fill, from_runs, patch_of, unpacked
from segkit.importing.grids import Size, picture_sizes, times
from segkit.importing.labels import write_png
from segkit.importing.layout import Placed, Put

OVERLAP = "objects of different classes overlap: the smaller is on top (multilabel keeps both)"


class Rle(BaseModel):
    """Run lengths of an object, as numbers or compressed."""

    size: tuple[int, int]
    counts: str | list[Annotated[int, Field(ge=0)]]


@dataclass(frozen=True)
class Outline:
    """An object.

    Attributes:
        number: of its class.
        shape: its outline, None where there is none.
        box: x, y, width and height.
        crowd: it is many objects, not told apart.
        id: the annotation's, for messages.
    """

    number: int
    shape: Rle | list[list[float]] | None
    box: list[float] | None
    crowd: bool
    id: int | str | None

    def patch(self, size: Size) -> Patch:
        """Its pixels in a picture of a size.

        Raises:
            ValueError: the outline is damaged, or of a picture of another size.
        """
        return patch_of(self._inside(size))

    def _inside(self, size: Size) -> Inside:
        if isinstance(self.shape, Rle):
            if self.shape.size != size:
                raise ValueError(f"its run lengths are of a picture of {times(self.shape.size)}")
            counts = self.shape.counts
            return from_runs(unpacked(counts) if isinstance(counts, str) else counts, size)
        if self.shape is not None:
            return fill(self.shape, size)
        if self.box is None:
            return np.zeros(size, dtype=np.bool_)
        if len(self.box) != 4:
            raise ValueError(f"its box has {len(self.box)} numbers; expected x, y, width and height")
        left, top, width, height = self.box
        right, bottom = left + width, top + height
        return fill([[left, top, right, top, right, bottom, left, bottom]], size)


@dataclass(frozen=True)
class DrawnMask:
    """A mask that is drawn.

    Attributes:
        image: the picture's file.
        size: height and width that the JSON gives the picture.
        outlines: its objects.
        classes: all classes.
        multilabel: a mask for each class.
        by: the JSON, for messages.
    """

    image: Path
    size: Size | None
    outlines: tuple[Outline, ...]
    classes: tuple[str, ...]
    multilabel: bool
    by: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """None but the JSON, which was read."""
        return ()

    def place(self, folder: Path, name: str, put: Put) -> Placed:  # noqa: ARG002 - nothing is copied here
        """Draw it, larger objects first; what is not to be told apart is ignored where nothing else is drawn.

        Raises:
            DataError: the picture has another size than the JSON says, or an outline can't be drawn.
        """
        sizes = picture_sizes(self.image)
        size = self.size or sizes[0]
        if size not in sizes:
            raise DataError(
                f"{self.image}: the picture is {times(sizes[0])}, in {self.by.name} {times(size)}; outlines would lie "
                "elsewhere: use the pictures that were annotated"
            )
        if size[0] * size[1] > LIMIT:
            raise DataError(f"{self.image}: a mask of {times(size)} pixels is more than is drawn at once")
        ignored: list[tuple[int, Patch]] = []
        objects: list[tuple[int, Patch]] = []
        for one in self.outlines:
            try:
                patch = one.patch(size)
            except ValueError as error:
                raise DataError(f"{self.by}: annotation {one.id} of {self.image.name}: {error}") from None
            (ignored if one.crowd or one.shape is None else objects).append((one.number, patch))
        objects.sort(key=lambda found: -found[1].area)
        if self.multilabel:
            (folder / name).mkdir()
            for number, called in enumerate(self.classes):
                mask = np.zeros(size, dtype=np.uint8)
                paint(mask, [patch for of, patch in ignored if of == number], IGNORE)
                paint(mask, [patch for of, patch in objects if of == number], 1)
                write_png(folder / name / f"{called}.png", mask)
            return Placed((size,))
        mask = np.zeros(size, dtype=np.uint8)
        paint(mask, [patch for _, patch in ignored], IGNORE)
        covered = np.zeros(size, dtype=np.uint8)
        overlap = False
        for number, patch in objects:
            before = patch.of(covered)[patch.inside]
            overlap = overlap or bool(((before != 0) & (before != number)).any())
            paint(covered, [patch], number)
            paint(mask, [patch], number)
        write_png(folder / f"{name}.png", mask)
        return Placed((size,), OVERLAP if overlap else None)


def paint(mask: NDArray[np.uint8], patches: list[Patch], value: int) -> None:
    """Set the pixels of some objects in a mask [H, W]."""
    for patch in patches:
        patch.of(mask)[patch.inside] = value
