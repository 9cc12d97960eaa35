"""The sizes of pictures, by their headers alone, and whether a mask fits its picture or volume."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import tifffile

from segkit.data.claims import Claim, check_claim, claim_of, claim_of_tiff
from segkit.data.decoding import is_tiff
from segkit.data.reader import orientation_of
from segkit.errors import DataError
from segkit.one_line import one_line

if TYPE_CHECKING:
    from segkit.data.geometry import Geometry

Size = tuple[int, int]
"""Height and width."""
Grid: TypeAlias = "tuple[Size, ...] | Geometry"
"""Where an image's values are: the sizes that a picture's mask may have, or a volume's geometry."""


def difference(image: Grid, mask: Grid) -> str | None:
    """In words, what sets a mask's grid apart from its picture's or volume's; None where nothing does."""
    if isinstance(image, tuple) and isinstance(mask, tuple):
        return None if mask[0] in image else f"the mask is {times(mask[0])}, its picture {times(image[0])}"
    if isinstance(image, tuple) or isinstance(mask, tuple):
        return f"one is a {'picture, its mask a volume' if isinstance(image, tuple) else 'volume, its mask a picture'}"
    return image.difference(mask)


def times(size: Size) -> str:
    """Width × height, as people say it."""
    return f"{size[1]}×{size[0]}"


def picture_sizes(path: Path) -> tuple[Size, ...]:
    """The size of an upright picture; where its EXIF tag turns it by 90°, then also that of its stored pixels.

    Raises:
        DataError: the file can't be read, is no picture, or can't hold the size that it claims.
    """
    try:
        with path.open("rb") as file:
            tiff = is_tiff(file.read(4))
        if tiff:
            with tifffile.TiffFile(path) as opened:
                claim: Claim | None = claim_of_tiff(opened)
        else:
            claim = claim_of(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error
    except Exception as error:  # decoders raise what they like
        raise DataError(f"{path}: can't be decoded as a picture ({one_line(error)})") from error
    if claim is None:
        raise DataError(f"{path}: it is no PNG, JPEG, TIFF, BMP or WebP file, or damaged; export it again")
    check_claim(claim, path.stat().st_size, path, claim.decoded)  # it isn't decoded here
    stored = claim.height, claim.width
    return (stored[::-1], stored) if orientation_of(path) >= 5 else (stored,)
