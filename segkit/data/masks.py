"""Class ids from mask files, whatever their coding: ids, 0 and 255, an indexed palette, colours."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.data.claims import LIMIT, check_claim, claim_of
from segkit.data.description import Colour
from segkit.data.listing import by_stem, is_volume
from segkit.data.reader import Pixels, read_pixels
from segkit.data.suffixes import TIFF, VOLUMES, suffix_of
from segkit.errors import DataError
from segkit.nearest import nearest

Ids = NDArray[np.uint8]
Values = NDArray[np.integer]

IGNORE = 255
NO_CLASS = 254  # marks, in a table, a value that means nothing
LARGEST_ID = 65535  # that a mask may hold

LOSSLESS = (".png", *TIFF, ".bmp")
"""Suffixes of files that can be masks."""


def read_values(path: Path) -> Values:
    """Return a mask file's values [H, W] as stored: uint8 or uint16; an indexed PNG gives its indices, not its colours.

    Those of a volume come as one tall picture, [I · J, K]. A grey mask saved with three equal channels is grey. The
    orientation tag is not applied.
    """
    pixels = read_stored(path)
    if in_colour(pixels):
        raise DataError(
            f"{path}: the mask is in colour; give each class's colour under 'palette:' in dataset.yaml, or export "
            "class ids"
        )
    return whole_values(pixels, path)


def read_stored(path: Path) -> Pixels:
    """Return a mask file's pixels [H, W, C] as stored: an indexed PNG's indices, otherwise grey or colours.

    The voxels of a volume [I, J, K] come as one tall picture, [I · J, K].
    """
    if is_volume(path):
        from segkit.medical.reading import read_volume

        values = read_volume(path).values
        return values.reshape(-1, *values.shape[2:])
    data = _png(path)
    claim = claim_of(data)
    if claim is not None:
        check_claim(claim, len(data), path, LIMIT)
    if data[25:26] == b"\x03":  # colour type 3: indexed
        try:
            with Image.open(path) as picture:
                return np.asarray(picture)[..., None]
        except Exception as error:  # what a broken PNG leads to is anyone's guess
            raise DataError(f"{path}: can't be decoded as a mask ({error})") from error
    grey = _read_grey(data)
    return grey[..., None] if grey is not None else read_pixels(path, upright=False)


def class_files(folder: Path, classes: Sequence[str]) -> list[Path]:
    """Return the files of a multilabel mask, one a class; raise DataError where one is missing."""
    files = by_stem(folder, (*LOSSLESS, *VOLUMES))
    for name in classes:
        if name not in files:
            file = folder / f"{name}{suffix_of(next(iter(files.values())))}"
            raise DataError(f"{file}: no such file{nearest(name, files)}; write an empty mask where it is absent")
    return [files[name] for name in classes]


def in_colour(pixels: Pixels) -> bool:
    """Whether the channels of [H, W, C] differ anywhere."""
    return pixels.shape[2] > 1 and bool((pixels != pixels[..., :1]).any())


def whole_values(pixels: Pixels, path: Path) -> Values:
    """Return the values [H, W], uint8 or uint16, of a grey mask [H, W, C]; DataError where they are fractions."""
    values = np.ascontiguousarray(pixels[..., 0])
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    if values.max(initial=0) > LARGEST_ID and (values == np.rint(values)).all():
        raise DataError(
            f"{path}: the mask holds values up to {int(values.max())}; ids go to {LARGEST_ID}. Export ids of classes, "
            "not of instances"
        )
    whole = values.clip(0, LARGEST_ID).astype(np.uint16)
    if (whole != values).any():
        raise DataError(f"{path}: the mask holds fractions or negative values; export class ids as whole numbers")
    return whole


def read_colours(path: Path, palette: Mapping[str, Colour], classes: tuple[str, ...]) -> Ids:
    """Return class ids [H, W] of a colour-coded mask; 255 where the colour is the palette's 'ignore'."""
    ids, strange = ids_of_colours(read_pixels(path, upright=False), palette, classes, path)
    if strange.size:
        shown = ", ".join(f"#{code:06x}" for code in strange[:3])
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        hint = (
            " It looks interpolated: export it again without smoothing, or run 'segkit check --fix'."
            if len(strange) > 3
            else ""
        )
        raise DataError(f"{path}: colours {shown}{more} are not in the palette.{hint}")
    return ids


def ids_of_colours(
    pixels: Pixels, palette: Mapping[str, Colour], classes: tuple[str, ...], path: Path
) -> tuple[Ids, NDArray[np.uint32]]:
    """Return class ids [H, W] of a colour-coded mask [H, W, C], 254 where a colour means nothing, and those colours.

    The colours are numbers 0xRRGGBB, each once. Raises DataError where the mask has not 8 bits a channel, or neither
    one channel nor three.
    """
    if pixels.dtype != np.uint8:
        raise DataError(f"{path}: a colour-coded mask has 8 bits a channel, found {pixels.dtype}")
    if pixels.shape[2] not in (1, 3):
        raise DataError(f"{path}: a colour-coded mask has three channels, found {pixels.shape[2]}; export plain RGB")
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    codes: NDArray[np.uint32] = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    ids_by_code = {
        (red << 16) | (green << 8) | blue: IGNORE if name == "ignore" else classes.index(name)
        for name, (red, green, blue) in palette.items()
    }
    known = np.array(sorted(ids_by_code), dtype=np.uint32)
    place = np.searchsorted(known, codes).clip(max=len(known) - 1)
    wrong = known[place] != codes
    ids: Ids = np.array([ids_by_code[int(code)] for code in known], dtype=np.uint8)[place]
    ids[wrong] = NO_CLASS
    return ids, np.unique(codes[wrong])


def apply_table(values: Values, table: Ids, path: Path, classes: int) -> Ids:
    """Return class ids [H, W] by a table of 256 entries; raise DataError where a value means nothing."""
    if values.dtype == np.uint8 or values.max(initial=0) <= 255:
        ids = cv2.LUT(np.ascontiguousarray(values, dtype=np.uint8), table)
        if not (ids == NO_CLASS).any():
            return np.asarray(ids, dtype=np.uint8)
    found = np.unique(values)
    strange = strange_values(found, table)
    hint = (
        "It looks interpolated: export it again without smoothing, or run 'segkit check --fix'"
        if looks_interpolated(found, strange)
        else ("Add the missing classes to dataset.yaml, or correct the mask")
    )
    raise DataError(f"{path}: mask has values {shown_values(found)}; classes are 0..{classes - 1}. {hint}.")


def shown_values(values: NDArray[np.generic]) -> str:
    """Values as {0, 1, 255}, the middle left out of a long list."""
    listed = [str(value) for value in values.tolist()]
    if len(listed) > 8:
        listed = [*listed[:5], "…", *listed[-2:]]
    return "{" + ", ".join(listed) + "}"


def strange_values(found: NDArray[np.integer], table: Ids) -> list[int]:
    """Return those of some values that are no class by a table of 256 entries."""
    return [int(value) for value in found if value > 255 or table[value] == NO_CLASS]


def looks_interpolated(found: NDArray[np.integer], strange: list[int]) -> bool:
    """Whether smoothing left values between the real ones: many, or some where there is nothing else but 0 and 255."""
    ids = [value for value in found.tolist() if 0 < value < IGNORE and value not in strange]
    return len(strange) > 8 or (not ids and max(strange) < found[-1])


def _read_grey(data: bytes) -> Ids | None:
    """The fast way for the usual mask, an 8-bit grey PNG; None for everything else, broken files included."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if values is None or values.ndim != 2 or values.dtype != np.uint8:
        return None
    return np.asarray(values, dtype=np.uint8)


def _png(path: Path) -> bytes:
    """The bytes of a PNG file, whatever its name says; none of everything else."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            return head + file.read() if head.startswith(b"\x89PNG") else b""
    except OSError:
        return b""
